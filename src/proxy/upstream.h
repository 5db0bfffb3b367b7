/* Connections to dev servers and the worker's view of a sandbox, a site: those of its connections
 * that are idle, and the clients that wait for it. */
#pragma once

#include "proxy/worker.h"

struct upstream {
    struct peer peer;
    struct worker *worker;
    struct site *site;
    struct client *client;            /* NULL: idle */
    struct upstream *next, *previous; /* idle list of the site; `next` also in the free lists */
    uint32_t generation;
    uint16_t port;
    bool inet6;
    bool connected;
    bool idle; /* is in the site's list */
    bool reused;
};

struct site {
    struct site *next; /* in its bucket */
    struct sandbox *sandbox;
    unsigned int refs; /* clients and upstreams */
    struct client *waiters;
    struct upstream *idle; /* used last first */
    unsigned int n_idle;
    uint16_t inet6_ports[8]; /* ports found on ::1 rather than 127.0.0.1 */
    unsigned int inet6_next;
    uint64_t access_word; /* of the sandbox, when its clients were last gone through */
};

/* The site of that id with one more reference; NULL: out of memory. */
struct site *site_get(struct worker *worker, const char *id);
void site_put(struct worker *worker, struct site *site);
/* NULL if this worker has none. */
struct site *site_find(struct worker *worker, const char *id);

/* Closes idle connections of other generations. */
void site_refresh(struct worker *worker, struct site *site);
void sites_free(struct worker *worker);

bool site_prefers_inet6(const struct site *site, uint16_t port);
void site_found_at(struct site *site, uint16_t port, bool inet6);

/* An idle connection to the port; NULL: none. `check`: make sure that it was not closed since. */
struct upstream *upstream_take_idle(struct worker *worker, struct site *site, uint16_t port,
                                    uint32_t generation, bool check);

/* Starts to connect. -EAGAIN: no socket in stock (more were asked for), -ECONNREFUSED, others. */
int upstream_connect(struct worker *worker, struct site *site, uint16_t port, bool inet6,
                     uint32_t generation, struct upstream **ret_upstream);

/* After an event on a connecting one: 0 connected, -EINPROGRESS, or why it failed. */
int upstream_finish_connect(struct upstream *upstream);

/* Parks it for later requests. */
void upstream_make_idle(struct upstream *upstream);
void upstream_close(struct upstream *upstream);

/* An event on, or the expiry of, one without a client. */
void upstream_idle_event(struct upstream *upstream);
