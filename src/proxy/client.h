/* One connection from a browser and the request it is at. The states and who moves them on:
 *
 *   HANDSHAKE TLS is settled                              client.c
 *   H2        carries streams, each a client of its own   h2.c
 *   HEAD      reading a request head                      client.c
 *   PARKED    the sandbox or its dev server is not ready  dispatch.c
 *   CONNECT   a connection to the dev server is made      dispatch.c
 *   EXCHANGE  request and response pass                   exchange.c
 *   TUNNEL    after a WebSocket upgrade                   exchange.c
 *   REPORT    reading what a page reports                 bridge-serve.c
 *   REPLY     an answer of our own is written             client.c
 *   LINGER    ended our side, waiting for the client's    client.c
 */
#pragma once

#include "proxy/flow.h"
#include "proxy/rewrite.h"
#include "proxy/upstream.h"

#include <arpa/inet.h>

enum client_state {
    CLIENT_HANDSHAKE,
    CLIENT_H2,
    CLIENT_HEAD,
    CLIENT_PARKED,
    CLIENT_CONNECT,
    CLIENT_EXCHANGE,
    CLIENT_TUNNEL,
    CLIENT_REPORT,
    CLIENT_REPLY,
    CLIENT_LINGER,
    CLIENT_DEAD
};

/* What the proxy answers under a path of a preview's. */
enum reserved { RESERVED_NONE, RESERVED_STATUS, RESERVED_BRIDGE };

struct client {
    struct peer peer;
    struct worker *worker;
    struct client *next, *previous;           /* of the worker; `next` also in the free lists */
    struct client *wait_next, *wait_previous; /* waiters of the site */
    struct client *again_next, *paused_next;
    struct figures_slot *opened;      /* where it counts as at work */
    struct record *record;            /* record.h; NULL: none is kept */
    uint64_t sent_us;                 /* when the request went to the dev server */
    uint64_t counted_in, counted_out; /* bytes of the peer that were counted */
    struct site *site;
    struct upstream *upstream;
    uint8_t state;
    bool again, waiting;
    bool entered;  /* is counted at the site */
    bool paused;   /* its sandbox has used up its bandwidth */
    bool tls;      /* the browser's connection is encrypted: its scheme is https */
    struct h2 *h2; /* CLIENT_H2 */

    /* the present request */
    bool is_head, navigation, wants_upgrade, idempotent, old; /* old: HTTP/1.0 */
    bool keep_alive;
    bool has_body;
    bool trusted;          /* a proxy in front of us, whose X-Forwarded-* fields count */
    bool secure;           /* the browser speaks https, to us or to that proxy */
    bool head_kept;        /* its bytes are still at the front of `in` */
    bool other_tried;      /* the second address family was */
    uint8_t reserved;      /* enum reserved */
    bool document;         /* a browser opens it: the bridge may be inserted */
    bool answered;         /* a final response head was written */
    uint16_t port;         /* that it goes to */
    uint32_t token_epoch;  /* of the token that it came with */
    int64_t token_expires; /* likewise, seconds since 1970; 0: it came with none */
    uint8_t interim;
    uint8_t retries; /* after the dev server had hung up without a byte */
    uint32_t head_seen, head_length;
    size_t lingered;                      /* bytes read away since LINGER began */
    int64_t waiting_since, refused_since; /* ms, 0: not */
    struct target target;
    struct origin origin;
    struct flow up, down;
    bool upstream_keeps; /* the dev server's connection may serve another request */
    uint16_t authority_length;
    char authority[AUTHORITY_MAX + 1];
    char address[INET6_ADDRSTRLEN];
};

/* Takes the descriptor, whatever comes of it. The client has been counted. */
struct client *client_new(struct worker *worker, const struct given *given);

/* One whose transport is a stream of that HTTP/2 connection (h2.h). NULL: there is no room. */
struct h2_stream;
struct client *client_new_stream(struct client *carrier, struct h2_stream *stream);

/* Counts a client in or out (+1, -1), for its thread and for all. */
void client_count(struct worker *worker, int change);

/* Moves the client on as far as it goes; after any event on it or its upstream connection. */
void client_run(struct client *client);
void client_timeout(struct client *client, enum timer_class class);
void client_close(struct client *client);

/* Shutting down: close if idle. */
void client_drain(struct client *client);

/* Sets the state REPLY after something was put into `out`. */
void client_replied(struct client *client);

/* Lets go of the upstream connection (closing it) and of the site. */
void client_release(struct client *client);

/* The request at the front of `in`, parsed (again if need be). */
const struct head *client_head(struct client *client);

/* The request target without scheme and authority. */
struct text client_target(const struct head *head);

/* The path of the request target, without the path-form prefix. */
struct text client_path(const struct client *client, const struct head *head);

/* Both names of the exchange, but for what only the request's head tells. */
void client_names(const struct client *client, struct exchange_names *ret_names);

/* The max-age of Strict-Transport-Security that this browser is told; 0: none. */
int64_t client_hsts(const struct client *client);

/* The request has been answered in full: next one, or the end. */
void client_finish(struct client *client);

/* dispatch.c: a head was read; a parked or connecting client may go on. */
void dispatch_request(struct client *client);
void dispatch_parked(struct client *client);
void dispatch_changed(struct client *client); /* the parked client's sandbox changed */
void dispatch_connecting(struct client *client);
void dispatch_timeout(struct client *client, enum timer_class class);
void dispatch_unpark(struct client *client);
/* A reused connection died before it answered. */
void dispatch_again(struct client *client, bool fresh);

/* exchange.c */
void exchange_start(struct client *client);
void exchange_run(struct client *client);
void tunnel_run(struct client *client);

/* reply.c */
struct page;
/* `poll` of the page only says whether; where, is found out. */
void reply_page(struct client *client, const struct page *what);
void reply_error(struct client *client, int status, const char *code, const char *message);
void reply_redirect_tls(struct client *client); /* the same URL, but https */
void reply_redirect_slash(struct client *client);
void reply_status(struct client *client);
