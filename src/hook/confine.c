/* What auracode-hook asks of the kernel once it serves; see base/confine.h. Its root has what names
 * and certificates need, read-only (supervisor/jail.h). */
#include "hook/hook.h"

#include "base/cleanup.h"
#include "base/confine.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const struct confine_call calls[] = {
    /* threads, no processes */
    {.name = "clone", .argument = 0, .mask = CLONE_THREAD, .equals = CLONE_THREAD},
    {.name = "set_robust_list"},
    {.name = "rseq"},
    {.name = "set_tid_address"},
    /* the loop */
    {.name = "epoll_create1"},
    {.name = "epoll_ctl"},
    {.name = "epoll_wait"},
    {.name = "epoll_pwait"},
    {.name = "epoll_pwait2"},
    {.name = "poll"},
    {.name = "ppoll"},
    {.name = "timerfd_create"},
    {.name = "timerfd_settime"},
    {.name = "signalfd4"},
    {.name = "eventfd2"},
    /* connections */
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET6},
    {.name = "socketpair"}, /* libcurl wakes itself by one */
    {.name = "pipe2"},
    {.name = "connect"},
    {.name = "getsockname"},
    {.name = "getpeername"},
    {.name = "getsockopt"},
    {.name = "setsockopt"},
    {.name = "sendto"},
    {.name = "sendmsg"},
    {.name = "sendmmsg"}, /* questions to name servers */
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "shutdown"},
    {.name = "fcntl"},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONREAD},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONBIO},
    /* /etc/resolv.conf, /etc/hosts, /etc/ssl/certs */
    {.name = "openat"},
    {.name = "stat"},
    {.name = "statx"},
    {.name = "lseek"},
    {.name = "getdents64"},
    {.name = "uname"},
};

int hook_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
