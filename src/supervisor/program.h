/* auracode-api, auracode-proxy, auracode-resolver, auracode-hook and, where [auth] jwks_url is to
 * be fetched, auracode-fetch: started as their own users without capabilities, watched, started
 * again when they end. Their listening sockets are made here and kept here, so a restart refuses no
 * connection. Programs that outlived a supervisor are recognised by RUN/programs.json (pid and
 * start time) and kept; if their executable or their configuration has changed, until they have
 * handed over to a successor. */
#pragma once

#include "supervisor/supervisor.h"

#include "base/ipc.h"

#define PROGRAMS 5

/* Makes the listening sockets, starts or keeps the programs. */
int programs_start(struct supervisor *supervisor, struct error *err);

/* SIGTERM to all; no restarts from here on. supervisor_check_stopped is called as they end. */
void programs_stop(struct supervisor *supervisor);

/* True while one of them lives. */
bool programs_alive(const struct supervisor *supervisor);

/* A program said hello; `role` as in protocol.h, `fds` are the listening sockets that it
 * holds, in the order of `names` (NULL: none). They replace none that we have, and one is taken
 * only if it listens where the configuration says: a hostile program could hand the next one
 * anything. An unknown name or another socket: -EINVAL naming it. */
int program_hello(struct supervisor *supervisor, unsigned int role, json_t *names,
                  struct ipc_fds *fds, struct error *err);

/* A program accepts no more connections and will end: its successor starts at once. -EBUSY while an
 * earlier one is still leaving, so that a hostile program cannot have many started. */
int program_leave(struct supervisor *supervisor, unsigned int role, struct error *err);

/* The role of a connection that comes from `uid`, or 0. */
unsigned int program_role_of_uid(const struct supervisor *supervisor, uid_t uid);

/* For reports: 0 <= i < PROGRAMS; 0 when it does not run. */
pid_t program_pid(const struct supervisor *supervisor, int i);
/* Whether it is to run at all. */
bool program_wanted(const struct supervisor *supervisor, int i);
const char *program_name(const struct supervisor *supervisor, int i);

/* webhook.channel, of operations.c: the API's end of what auracode-hook has the other end of. */
struct request;
int op_webhook_channel(struct request *request, void *params, struct error *err);

void programs_free(struct supervisor *supervisor);
