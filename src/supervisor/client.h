/* Connections of auracode-api and auracode-proxy on the supervisor's socket. */
#pragma once

#include "supervisor/supervisor.h"

/* Opens RUN/supervisor.sock, where programs that survived a supervisor come back; the role follows
 * from the peer's uid. */
int clients_listen(struct supervisor *supervisor, struct error *err);

/* Takes a connected descriptor for a program that was just started. */
int client_add(struct supervisor *supervisor, int fd, unsigned int role, struct error *err);

/* Sends sandbox.state: `full` to the API, `brief` to the proxy; both stolen. */
void clients_announce(struct supervisor *supervisor, json_t *full, json_t *brief);

/* The same event (stolen) to every program. */
void clients_event(struct supervisor *supervisor, json_t *event);

/* An event (stolen) to the API alone, unless it is behind with what it was told before. */
void clients_tell_api(struct supervisor *supervisor, json_t *event);

void clients_close(struct supervisor *supervisor);
