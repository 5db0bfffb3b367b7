/* Theory of operation: see stream.h. Reading takes a bounded number of packets a turn, so that one
 * chatty process cannot starve the loop. A stream freed by its own callback lives until the
 * dispatch that called it is over. */
#include "api/stream.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define PACKETS_A_TURN 16

struct packet {
    struct packet *next;
    size_t length;
    char bytes[];
};

struct stream {
    int fd;
    sd_event_source *io;
    const struct stream_handler *handler;
    void *userdata;
    struct packet *out, **out_end;
    size_t queued;
    bool paused, ended, busy, doomed;
};

static void update_events(struct stream *stream)
{
    uint32_t events = (stream->paused ? 0 : EPOLLIN) | (stream->out ? EPOLLOUT : 0);

    if (stream->ended)
        return;
    sd_event_source_set_io_events(stream->io, events);
    /* A hang-up is reported whatever is asked for: with nothing asked for it would spin. */
    sd_event_source_set_enabled(stream->io, events ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void really_free(struct stream *stream)
{
    sd_event_source_disable_unref(stream->io);
    close_and_forget(&stream->fd);
    while (stream->out) {
        struct packet *packet = stream->out;
        stream->out = packet->next;
        free(packet);
    }
    free(stream);
}

static void end(struct stream *stream, int error)
{
    if (stream->ended || stream->doomed)
        return;
    stream->ended = true;
    sd_event_source_set_enabled(stream->io, SD_EVENT_OFF);
    stream->handler->end(stream->userdata, error);
}

static int send_now(struct stream *stream, const char *bytes, size_t length)
{
    while (send(stream->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static void flush(struct stream *stream)
{
    bool waited = stream->out != NULL;

    while (stream->out) {
        struct packet *packet = stream->out;
        int r = send_now(stream, packet->bytes, packet->length);
        if (r == -EAGAIN)
            return;
        /* A process that is gone takes no input; its output and end still come. */
        stream->out = packet->next;
        stream->queued -= packet->length;
        free(packet);
    }
    stream->out_end = &stream->out;
    if (!waited)
        return;
    update_events(stream);
    if (stream->handler->drained)
        stream->handler->drained(stream->userdata);
}

/* 1: there may be more. */
static int read_packet(struct stream *stream)
{
    static char buffer[STREAM_CHUNK_MAX + 2]; /* one thread; too large for a stack */
    ssize_t n;

    /* ECONNRESET is told once, before the packets that still wait, when the init closed with input
     * of ours unread: the command has ended without it, and its end is among them. */
    do
        n = recv(stream->fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0 || (size_t)n > STREAM_CHUNK_MAX + 1) {
        end(stream, n < 0 ? -errno : n == 0 ? 0 : -EPROTO);
        return 0;
    }
    stream->handler->packet(stream->userdata, (unsigned char)buffer[0], buffer + 1, (size_t)n - 1);
    return 1;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct stream *stream = userdata;

    (void)source;
    (void)fd;
    stream->busy = true;
    if (events & EPOLLOUT)
        flush(stream);
    for (int i = 0; i < PACKETS_A_TURN && !stream->paused && !stream->doomed && !stream->ended; i++)
        if (read_packet(stream) == 0)
            break;
    stream->busy = false;
    if (stream->doomed)
        really_free(stream);
    return 0;
}

static int wait_in_line(struct stream *stream, const char *bytes, size_t length)
{
    struct packet *packet = malloc(sizeof(*packet) + length);

    if (!packet)
        return -ENOMEM;
    packet->next = NULL;
    packet->length = length;
    memcpy(packet->bytes, bytes, length);
    *stream->out_end = packet;
    stream->out_end = &packet->next;
    stream->queued += length;
    update_events(stream);
    return 0;
}

static int send_packet(struct stream *stream, enum stream_channel channel, const char *data,
                       size_t length)
{
    char bytes[STREAM_CHUNK_MAX + 1];

    bytes[0] = (char)channel;
    if (length > 0)
        memcpy(bytes + 1, data, length);
    if (stream->out)
        return wait_in_line(stream, bytes, length + 1);
    int r = send_now(stream, bytes, length + 1);
    return r == -EAGAIN ? wait_in_line(stream, bytes, length + 1) : r;
}

int stream_send(struct stream *stream, enum stream_channel channel, const void *data, size_t length)
{
    const char *bytes = data;
    int r = 0;

    do {
        size_t piece = length < STREAM_CHUNK_MAX ? length : STREAM_CHUNK_MAX;
        r = send_packet(stream, channel, bytes, piece);
        bytes = length > piece ? bytes + piece : bytes;
        length -= piece;
    } while (r == 0 && length > 0);
    return r;
}

size_t stream_queued(const struct stream *stream)
{
    return stream->queued;
}

void stream_pause(struct stream *stream, bool paused)
{
    if (stream->paused == paused)
        return;
    stream->paused = paused;
    update_events(stream);
}

int stream_new(struct api *api, const struct stream_handler *handler, void *userdata,
               struct stream **ret_stream, int *ret_peer_fd, struct error *err)
{
    int pair[2];
    struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return error_oom(err);
    stream->fd = -1;
    stream->handler = handler;
    stream->userdata = userdata;
    stream->out_end = &stream->out;
    int r = ipc_pair(pair);
    if (r < 0) {
        really_free(stream);
        return error_sys(err, r, "socketpair");
    }
    stream->fd = pair[0];
    r = sd_event_add_io(api->event, &stream->io, stream->fd, EPOLLIN, on_io, stream);
    if (r < 0) {
        close(pair[1]);
        really_free(stream);
        return error_sys(err, r, "watching a stream");
    }
    *ret_stream = stream;
    *ret_peer_fd = pair[1];
    return 0;
}

void stream_free(struct stream *stream)
{
    if (!stream)
        return;
    stream->doomed = true;
    if (!stream->busy)
        really_free(stream);
}
