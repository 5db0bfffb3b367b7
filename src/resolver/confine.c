/* What auracode-resolver asks of the kernel once it serves; see base/confine.h. Its sockets to the
 * sandboxes are handed to it; those to the name servers it makes itself. */
#include "resolver/control.h"

#include "base/cleanup.h"
#include "base/confine.h"

static const struct confine_call calls[] = {
    /* the loop */
    CONFINE_LOOP,
    {.name = "epoll_pwait2"},
    {.name = "signalfd4"},
    /* connections */
    CONFINE_CONNECTIONS,
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET},
    {.name = "accept4"},
};

int resolver_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
