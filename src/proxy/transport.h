/* How bytes get into and out of a connection. Peers know no other way, so what stands between the
 * socket and HTTP (TLS) is one more table of this kind; `raw` tells that the socket carries the
 * bytes as they are, so that the kernel may move them without us (pipe.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct peer;

struct transport {
    bool raw;
    /* Never block. How many bytes, 0 at the end (receive), or a negative errno; -EAGAIN: not now,
     * an edge will tell. */
    ssize_t (*receive)(struct peer *peer, void *data, size_t room);
    ssize_t (*send)(struct peer *peer, const struct iovec *parts, size_t n_parts);
    /* Ends our direction. */
    void (*shut)(struct peer *peer);
    /* Gives up what it keeps for the peer, just before the descriptor is closed. */
    void (*release)(struct peer *peer);
};

extern const struct transport transport_plain;
