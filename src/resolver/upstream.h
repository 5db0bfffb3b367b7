/* Asking the host's name servers: UDP with a socket, a source port and an id of its own for each
 * try, TCP when an answer was cut, the next server after a while without a sound one. */
#pragma once

#include "resolver/packet.h"

#include <netinet/in.h>
#include <systemd/sd-event.h>

#define SERVERS_MAX    4u
#define LOOKUPS_MAX    512u /* at a time, of all sandboxes */
#define TRY_TIMEOUT_US ((uint64_t)1000 * 1000)
#define TRIES_MAX      4u

struct upstream {
    sd_event *event;
    struct sockaddr_in servers[SERVERS_MAX];
    size_t n_servers;
    unsigned int lookups;
    void (*on_silence)(void *userdata); /* no server has answered a lookup */
    void *userdata;
};

struct lookup;

/* 0 and the answer (to be cleared by the callee, or taken), or -ETIMEDOUT, -EPERM (packet.h). */
typedef void (*lookup_done_fn)(void *userdata, int r, struct answer *answer);

/* "ADDRESS" or "ADDRESS:PORT"; those that are neither are left out. */
void upstream_set_servers(struct upstream *upstream, const json_t *servers);

/* -EAGAIN: LOOKUPS_MAX run; -ENOTCONN: there is no server. `done` is called later, once, unless the
 * lookup is cancelled. */
int lookup_start(struct upstream *upstream, const struct question *question, lookup_done_fn done,
                 void *userdata, struct lookup **ret_lookup);
void lookup_cancel(struct lookup *lookup);
