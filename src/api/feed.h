/* A WebSocket that only tells: who says something is closed, and so is who does not read what waits
 * for him, with the code that chat connections use for it. */
#pragma once

#include "api/request.h"

#define FEED_SLOW_READER 4008

struct feed {
    struct http_request *request;
    struct ws *ws;
    size_t queue_max; /* bytes that may wait; 0: no bound (a replay, which is bounded itself) */
    void (*opened)(struct feed *feed);
    /* Stops what tells. The last call but for `free`, and made before that in any case; perhaps
     * twice. */
    void (*closed)(struct feed *feed);
    bool over; /* is being closed: what else comes is left out */
};

/* Checks the handshake and answers 101. From here on the request owns `feed`, the first member of
 * what is freed with free(); on failure it stays the caller's. */
int feed_accept(struct http_request *request, struct feed *feed, struct error *err);

void feed_text(struct feed *feed, const char *text, size_t length);
/* `object` is stolen; one that there was no memory for is left out. */
void feed_object(struct feed *feed, json_t *object);
void feed_close(struct feed *feed, uint16_t code);
