/* One direction of a message's body: from one peer's `in` to the other's `out` and socket. What has
 * a known length, or none, goes from the input buffer to the socket without a copy; the chunked
 * coding is taken apart and written anew. At most one buffer waits each way, so a slow reader slows
 * its writer down. The bulk of a long body of known length does not come to us at all: it goes
 * through a pipe, where both connections are raw. A document that a script is inserted in is copied
 * up to that place. */
#pragma once

#include "proxy/chunked.h"
#include "proxy/insertion.h"
#include "proxy/peer.h"
#include "proxy/pipe.h"

enum flow_kind { FLOW_NONE, FLOW_LENGTH, FLOW_CHUNKED, FLOW_TO_EOF };

struct flow {
    uint8_t kind;
    bool chunk;   /* the next hop gets the chunked coding */
    bool done;    /* the whole body was taken from the source */
    bool starved; /* more input is needed than is buffered */
    uint64_t left;
    struct chunked chunked;
    struct pipe *pipe;           /* holds bytes that were taken from the source; NULL: none */
    struct insertion *insertion; /* owned; NULL: nothing is to be inserted (any more) */
};

void flow_start(struct flow *flow, enum flow_kind kind, uint64_t length, bool chunk);

/* Gives back what it borrowed or owns; bytes that are still in a pipe are lost. */
void flow_end(struct pipe_pool *pipes, struct flow *flow);

enum flow_result {
    FLOW_WAIT = 0,    /* nothing more can move now */
    FLOW_AGAIN,       /* its turn is over, more can move */
    FLOW_SOURCE_LOST, /* ended early, reset or malformed */
    FLOW_SINK_LOST,
};

/* Moves what can be moved in `rounds` (1 or more) transfers of at most one buffer or pipe each.
 * `*ret_moved` is set if any byte moved. */
enum flow_result flow_run(struct buffer_pool *buffers, struct pipe_pool *pipes, struct flow *flow,
                          struct peer *source, struct peer *sink, unsigned int rounds,
                          bool *ret_moved);
