/* What auracode-proxy asks of the kernel once it serves; see base/confine.h. It opens no file at
 * all and makes no socket but the one to the supervisor: those to sandboxes are handed to it. */
#include "proxy/control.h"

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
    /* loops */
    {.name = "epoll_create1"},
    {.name = "epoll_ctl"},
    {.name = "epoll_wait"},
    {.name = "epoll_pwait"},
    {.name = "poll"},
    {.name = "eventfd2"},
    {.name = "timerfd_create"},
    {.name = "timerfd_settime"},
    /* connections */
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX},
    {.name = "connect"},
    {.name = "accept4"},
    {.name = "getsockname"},
    {.name = "getpeername"},
    {.name = "getsockopt"},
    {.name = "setsockopt"},
    {.name = "sendto"},
    {.name = "sendmsg"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "shutdown"},
    {.name = "splice"},
    {.name = "pipe2"},
    {.name = "fcntl"},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONREAD},
};

int proxy_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
