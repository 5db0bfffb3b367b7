/* Connections to the init's socket. The other entry, conn_broadcast, is in process.h. */
#pragma once

#include "base/server.h"

#define CONNS_MAX 64u

/* Starts to serve the listening socket. -errno. */
int conn_listen(int fd);

/* process-ops.c */
extern const struct server_op process_ops[];
extern const size_t n_process_ops;
