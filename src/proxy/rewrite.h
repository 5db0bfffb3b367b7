/* Heads as the next hop gets them: written anew from what was understood, never copied whole. */
#pragma once

#include "proxy/buffer.h"
#include "proxy/head.h"

/* What both directions need to know about the exchange. */
struct exchange_names {
    struct text authority; /* by which the client calls us, host[:port] */
    struct text domain;    /* [proxy] domain */
    const struct target *target;
    uint16_t port;      /* of the dev server */
    const char *client; /* numeric address of the client */
};

/* `path` is the request target without its path-form prefix, beginning with '/' (or "*").
 * 0 or -ENOSPC. */
int rewrite_request(struct buffer *out, const struct head *head, struct text path,
                    const struct exchange_names *names);

struct response_form {
    bool chunk;      /* frame the body with the chunked coding */
    bool length;     /* write the head's Content-Length */
    bool keep_alive; /* of the connection to the client */
    bool announce;   /* HTTP/1.0 client: say keep-alive */
    bool upgrade;
};

int rewrite_response(struct buffer *out, const struct head *head, const struct response_form *form,
                     const struct exchange_names *names);
