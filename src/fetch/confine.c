/* What auracode-fetch asks of the kernel once it works; see base/confine.h. Connections to hosts by
 * name are what it is there for: it looks up names, reads the system's authorities and nothing
 * else.
 */
#include "fetch/fetch.h"

#include "base/cleanup.h"
#include "base/confine.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const struct confine_call calls[] = {
    /* libcurl looks up names in a thread */
    {.name = "clone", .argument = 0, .mask = CLONE_THREAD, .equals = CLONE_THREAD},
    {.name = "set_robust_list"},
    {.name = "rseq"},
    /* waiting */
    {.name = "poll"},
    {.name = "ppoll"},
    {.name = "pipe2"},
    {.name = "eventfd2"},
    /* connections */
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET6},
    {.name = "socketpair"},
    {.name = "connect"},
    {.name = "getsockname"},
    {.name = "getpeername"},
    {.name = "getsockopt"},
    {.name = "setsockopt"},
    {.name = "sendto"},
    {.name = "sendmsg"},
    {.name = "sendmmsg"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "shutdown"},
    {.name = "fcntl"},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONREAD},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONBIO},
    /* what is handed to the supervisor, and the files of the jail */
    {.name = "memfd_create"},
    {.name = "openat"},
    {.name = "open"},
    {.name = "stat"},
    {.name = "lstat"},
    {.name = "statx"},
    {.name = "access"},
    {.name = "faccessat2"},
    {.name = "lseek"},
    {.name = "pread64"},
    {.name = "readlink"},
    {.name = "getcwd"},
    {.name = "uname"},
    {.name = "sysinfo"},
};

int fetch_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
