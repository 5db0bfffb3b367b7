/* [sandbox] idle_timeout: a running sandbox that nobody has used for so long is paused (pause.h).
 * It is used by requests and WebSockets to its previews, which the proxy counts (base/figures.h),
 * and by what the API does in it, which the API tells. */
#pragma once

#include "supervisor/sandbox.h"

/* Starts to look, where a timeout is configured. Without figures no sandbox is ever idle. */
int idle_start(struct supervisor *supervisor, struct error *err);

/* Somebody uses it now. */
void idle_used(struct sandbox *sandbox);

/* The operation sandbox.used. */
int op_used(struct request *request, void *params, struct error *err);
