/* The file of [proxy] access_log: the supervisor opens and rotates it, auracode-proxy, which can
 * open nothing, appends to it through the descriptor that it is handed (proxy/access-log.h).
 *
 * FILE of 0640, FILE.1 the one before, up to FILE.KEEP. It is rotated when the proxy asks for it
 * and it has reached its size, and opened again on SIGHUP, as a logrotate that renames it needs. */
#pragma once

#include "supervisor/supervisor.h"

#include "base/error.h"
#include "base/server.h"

/* At the start; nothing where none is configured. Errors name the file. */
int access_log_open(struct supervisor *supervisor, struct error *err);

/* Opens the file anew and tells the proxy. After an error the one that is open stays. */
int access_log_reopen(struct supervisor *supervisor, struct error *err);

/* The operation `log.get`. */
int op_log_get(struct request *request, void *params, struct error *err);
