/* What auracode-resolver asks of the kernel once it serves; see base/confine.h. Its sockets to the
 * sandboxes are handed to it; those to the name servers it makes itself. */
#include "resolver/control.h"

#include "base/cleanup.h"
#include "base/confine.h"

#include <sys/socket.h>

static const struct confine_call calls[] = {
    /* the loop */
    {.name = "epoll_create1"},
    {.name = "epoll_ctl"},
    {.name = "epoll_wait"},
    {.name = "epoll_pwait"},
    {.name = "epoll_pwait2"},
    {.name = "poll"},
    {.name = "timerfd_create"},
    {.name = "timerfd_settime"},
    {.name = "signalfd4"},
    /* connections */
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET},
    {.name = "connect"},
    {.name = "accept4"},
    {.name = "getsockopt"},
    {.name = "setsockopt"},
    {.name = "sendto"},
    {.name = "sendmsg"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "shutdown"},
    {.name = "fcntl"},
};

int resolver_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
