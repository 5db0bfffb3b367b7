/* One end of a process's stream (protocol.h): packets of a channel byte and data, with
 * back-pressure in both directions. */
#pragma once

#include "api/api.h"
#include "base/protocol.h"

struct stream;

struct stream_handler {
    /* A packet from the process; `data` is without the channel byte. */
    void (*packet)(void *userdata, unsigned int channel, const char *data, size_t length);
    /* The other side closed, 0, or failed, negative errno. The last call. */
    void (*end)(void *userdata, int error);
    /* What stream_send queued has gone out. May be NULL. */
    void (*drained)(void *userdata);
};

/* The other end of the pair goes to *ret_peer_fd, to be handed to an init. */
int stream_new(struct api *api, const struct stream_handler *handler, void *userdata,
               struct stream **ret_stream, int *ret_peer_fd, struct error *err);

/* Allowed from inside the callbacks. NULL is fine. */
void stream_free(struct stream *stream);

/* Sends, in pieces of STREAM_CHUNK_MAX; what the peer does not take waits in memory. `length` 0
 * sends one empty packet. */
int stream_send(struct stream *stream, enum stream_channel channel, const void *data,
                size_t length);

/* Bytes that wait. */
size_t stream_queued(const struct stream *stream);

/* Stops and goes on reading. */
void stream_pause(struct stream *stream, bool paused);
