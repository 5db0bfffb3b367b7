/* What the API and the proxy may ask of the supervisor: the table of protocol.h part 1. */
#pragma once

#include "base/server.h"

extern const struct server_op operations[];
extern const size_t n_operations;
