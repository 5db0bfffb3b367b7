/* What the API and the proxy may ask of the supervisor: the table of protocol.h part 1. */
#pragma once

#include "base/server.h"

extern const struct server_op operations[];
extern const size_t n_operations;

/* server_admit_fn: finds the sandbox that the request names and refuses one in a state that the
 * operation's row does not name. */
int operation_admit(struct request *request, const struct server_op *op, void *params,
                    struct error *err);
