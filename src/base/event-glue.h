/* IPC connections on an sd-event loop: keeps the watched events in step with what waits to be sent.
 * Only in programs with that loop (supervisor, API); proxy and init poll by themselves. */
#pragma once

#include "base/ipc.h"

#include <systemd/sd-event.h>

/* Watches ipc->fd for input, and for output while something waits. `handler` is an ordinary io
 * handler. The source is returned to be unreferenced before the connection is closed. Takes over
 * ipc->on_pending and ipc->userdata. */
int event_add_ipc(sd_event *event, struct ipc *ipc, sd_event_io_handler_t handler, void *userdata,
                  sd_event_source **ret_source);
