/* Connections to the init's socket. The other entry, conn_broadcast, is in process.h. */
#pragma once

#include "base/server.h"

#define CONNS_MAX 64u

/* States that the tables of operations name: while it stops, nothing new is started. */
#define INIT_UP       STATE_OF(0)
#define INIT_STOPPING STATE_OF(1)
#define INIT_ANY      (INIT_UP | INIT_STOPPING)

/* Starts to serve the listening socket. -errno. */
int conn_listen(int fd);

/* process-ops.c */
extern const struct server_op process_ops[];
extern const size_t n_process_ops;
