/* The two names of everything: the dev server believes that it is http://localhost:PORT, the
 * browser knows it as ID.DOMAIN, PORT-ID.DOMAIN or /p/ID/PORT/. URLs are mapped between them; what
 * is not ours passes as it is. */
#pragma once

#include "proxy/buffer.h"
#include "proxy/head.h"

/* Who asked, as Origin tells: the answer to a request across two ports of one sandbox must name the
 * origin in the very spelling that the browser gave. Rebuilt, not kept: this has to fit into each
 * connection. */
struct origin {
    enum { ORIGIN_NONE, ORIGIN_FOREIGN, ORIGIN_BARE, ORIGIN_PORT, ORIGIN_PATH } kind : 8;
    bool secure;          /* https */
    uint16_t port;        /* of the dev server that it is */
    uint16_t public_port; /* in the browser's URL; 0: none given */
};

struct bridge;

/* What both directions need to know about the exchange. */
struct exchange_names {
    struct text authority; /* by which the client calls us, host[:port] */
    struct text domain;    /* [proxy] domain */
    const struct target *target;
    bool secure;                 /* the browser's connection is https */
    int64_t hsts_s;              /* max-age of Strict-Transport-Security; 0: none of ours */
    struct text frame_origins;   /* that may frame the page; length 0: as the dev server says */
    uint16_t port;               /* of the dev server */
    uint16_t service_port;       /* what ID.DOMAIN leads to; 0: not known */
    bool keeps_prefix;           /* the dev server wants the prefix of the path form */
    const char *client;          /* numeric address of the client */
    struct text forwarded_for;   /* requests: the addresses before it, as a trusted proxy told */
    bool document;               /* requests: the answer may have the bridge inserted */
    struct origin origin;        /* responses: of the request */
    const struct bridge *bridge; /* responses: inserted in the body (bridge.h); NULL: none is */
};

struct origin origin_of(struct text value, const struct exchange_names *names);

/* Appends the URL as the dev server knows it / as the browser does; `origin_only`: without a path.
 * 0 or -ENOSPC. */
int names_add_local(struct buffer *out, struct text value, bool origin_only,
                    const struct exchange_names *names);
int names_add_public(struct buffer *out, struct text value, const struct exchange_names *names);

/* Appends a path of the dev server's as the browser must spell it in the path form: with the
 * prefix, unless it has that already. */
int names_add_path(struct buffer *out, struct text path, const struct exchange_names *names);

/* Access-Control-Allow-Origin. `*ret_varies`: another origin would have got another value. */
int names_add_allowed_origin(struct buffer *out, struct text value,
                             const struct exchange_names *names, bool *ret_varies);
