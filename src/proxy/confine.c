/* What auracode-proxy asks of the kernel once it serves; see base/confine.h. It opens no file at
 * all and makes no socket but the one to the supervisor: those to sandboxes are handed to it. */
#include "proxy/control.h"

#include "base/cleanup.h"
#include "base/confine.h"

static const struct confine_call calls[] = {
    /* threads, no processes */
    CONFINE_THREADS,
    {.name = "set_tid_address"},
    /* loops */
    CONFINE_LOOP,
    {.name = "eventfd2"},
    /* connections */
    CONFINE_CONNECTIONS,
    {.name = "accept4"},
    {.name = "getsockname"},
    {.name = "getpeername"},
    {.name = "splice"},
    {.name = "pipe2"},
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONREAD},
};

int proxy_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
