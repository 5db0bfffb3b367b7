/* Heads as the next hop gets them: written anew from what was understood, never copied whole. */
#pragma once

#include "proxy/names.h"

/* `path` is the request target without its path-form prefix, beginning with '/' (or "*").
 * 0 or -ENOSPC. */
int rewrite_request(struct buffer *out, const struct head *head, struct text path,
                    const struct exchange_names *names);

struct response_form {
    bool chunk;      /* frame the body with the chunked coding */
    bool length;     /* write the head's Content-Length, plus `added` */
    bool keep_alive; /* of the connection to the client */
    bool announce;   /* HTTP/1.0 client: say keep-alive */
    bool upgrade;
    size_t added; /* bytes that are inserted in the body */
};

int rewrite_response(struct buffer *out, const struct head *head, const struct response_form *form,
                     const struct exchange_names *names);
