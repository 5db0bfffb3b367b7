/* What auracode-api asks of the kernel once it serves; see base/confine.h. SQLite's files are all
 * it opens, and Unix sockets all it makes: the supervisor's when it reconnects, pairs for streams.
 */
#include "api/api.h"

#include "base/cleanup.h"
#include "base/confine.h"
#include "base/str.h"

#include <string.h>

static const struct confine_call calls[] = {
    /* the threads that hash passwords; no processes */
    CONFINE_THREADS,
    /* the loop */
    CONFINE_LOOP,
    {.name = "epoll_pwait2"},
    {.name = "ppoll"},
    {.name = "select"}, /* libmicrohttpd */
    {.name = "pselect6"},
    {.name = "signalfd4"},
    {.name = "eventfd2"},
    /* connections */
    CONFINE_CONNECTIONS,
    {.name = "socketpair"},
    {.name = "accept"},
    {.name = "accept4"},
    {.name = "getsockname"},
    {.name = "getpeername"},
    {.name = "sendfile"},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONREAD},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONBIO},
    {.name = "dup"},
    {.name = "dup3"},
    {.name = "pipe2"},
    /* files: the database, and descriptors that a sandbox's init opened */
    {.name = "openat"},
    {.name = "open"},
    {.name = "stat"},
    {.name = "lstat"},
    {.name = "statx"},
    {.name = "access"},
    {.name = "faccessat2"},
    {.name = "lseek"},
    {.name = "pread64"},
    {.name = "pwrite64"},
    {.name = "copy_file_range"},
    {.name = "splice"},
    {.name = "ftruncate"},
    {.name = "fallocate"},
    {.name = "fsync"},
    {.name = "fdatasync"},
    {.name = "unlink"},
    {.name = "unlinkat"},
    {.name = "fchmod"},
    {.name = "readlink"},
    {.name = "getcwd"},
    {.name = "uname"},
    {.name = "sysinfo"},
    {.name = "getrusage"},
};

/* For a database on another host. */
static const struct confine_call for_hosts[] = {
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET6},
    {.name = "sendmmsg"}, /* the resolver of libc */
};

int api_confine(const struct api *api, struct error *err)
{
    struct confine_call all[ELEMENTS(calls) + ELEMENTS(for_hosts)];
    bool connects = str_starts(api->config.database_url, "postgres");

    memcpy(all, calls, sizeof(calls));
    memcpy(all + ELEMENTS(calls), for_hosts, sizeof(for_hosts));
    return confine(all, connects ? ELEMENTS(all) : ELEMENTS(calls), err);
}
