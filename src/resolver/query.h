/* One question of a sandbox, from its datagram or stream to the answer. */
#pragma once

#include "resolver/box.h"

#include <netinet/in.h>

/* How much longer the packet filter keeps an address open than the answer says: a program may
 * connect a little after it has asked. Seconds. */
#define GRACE 15

/* Who is to be answered. */
struct asker {
    struct box *box;
    struct sockaddr_in from; /* of a datagram */
    struct stream *stream;   /* NULL: a datagram */
};

/* Answers now or later; what is no question is dropped (-EBADMSG). */
int query_begin(const struct asker *asker, const uint8_t *wire, size_t length);

/* Forgets it without an answer. */
void query_cancel(struct query *query);

/* After another supervisor has come: opens the addresses of answers that still hold once more. */
void queries_grant_again(struct box *box);
