/* Accepting connections. */
#pragma once

#include "proxy/worker.h"

/* Takes what waits on the listening socket, a batch at a time, so that threads share the load. */
void listener_accept(struct worker *worker, const struct peer *listener);
