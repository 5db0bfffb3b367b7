/* One TCP connection, to a client or to a dev server, with its two buffers. It is watched
 * edge-triggered for everything from its first day, so a request costs no epoll_ctl; what is known
 * about readiness lives here. */
#pragma once

#include "proxy/buffer.h"
#include "proxy/pipe.h"
#include "proxy/timer.h"
#include "proxy/transport.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum peer_kind { PEER_LISTENER, PEER_WAKE, PEER_CLIENT, PEER_UPSTREAM };

struct peer {
    uint8_t kind;  /* enum peer_kind; first, so that an epoll event can tell what it points to */
    bool readable; /* a read may give something */
    bool writable; /* a write may take something */
    bool hung_up;  /* the other side has ended its direction: reads reach the end */
    bool eof;      /* ... and have reached it */
    bool failed;   /* reset or otherwise unusable */
    bool shut;     /* our direction has been ended */
    bool more;     /* the transport has more to read than fitted, or the end: no edge tells of it */
    int fd;
    const struct transport *transport;
    uint64_t received, sent; /* bytes since it was opened */
    void *layer;             /* the transport's own */
    struct buffer in, out;
    struct timer timer;
};

/* Watches the descriptor in an epoll set with the peer as data. */
int peer_watch(struct peer *peer, int epoll);

/* Takes over what epoll reported. */
void peer_event(struct peer *peer, uint32_t events);

/* Reads once into `in` if there may be something. 0, or a negative errno when the connection is
 * unusable (`failed` is then set). */
int peer_fill(struct buffer_pool *pool, struct peer *peer);

/* Writes `out` and, behind it, `extra`. Returns how many bytes of `extra` went, into `out` at
 * least, or a negative errno (`failed` is then set). */
ssize_t peer_send(struct peer *peer, const char *extra, size_t length);

/* Moves up to `most` bytes of what comes from the peer into the pipe, or all of the pipe to the
 * peer; both with raw transports alone. How many moved (0: not now, or the end, which `eof` tells),
 * or a negative errno. */
ssize_t peer_fill_pipe(struct peer *peer, struct pipe *pipe, size_t most);
ssize_t peer_send_pipe(struct peer *peer, struct pipe *pipe);

/* Ends our direction; once. */
void peer_shut(struct peer *peer);

/* Closes and gives the buffers back. */
void peer_close(struct buffer_pool *pool, struct peer *peer);
