/* What auracode-hook asks of the kernel once it serves; see base/confine.h. Its root has what names
 * and certificates need, read-only (supervisor/jail.h). */
#include "hook/hook.h"

#include "base/cleanup.h"
#include "base/confine.h"

static const struct confine_call calls[] = {
    /* threads */
    CONFINE_THREADS,
    {.name = "set_tid_address"},
    /* the loop */
    CONFINE_LOOP,
    {.name = "epoll_pwait2"},
    {.name = "signalfd4"},
    /* connections */
    CONFINE_CONNECTIONS,
    CONFINE_CURL,
    {.name = "getdents64"}, /* /etc/ssl/certs */
};

int hook_confine(struct error *err)
{
    return confine(calls, ELEMENTS(calls), err);
}
