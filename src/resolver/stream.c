/* Theory of operation: see stream.h. Nothing is read while a question is open or an answer not
 * sent; who says nothing for a while is closed. */
#include "resolver/stream.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IDLE_US ((uint64_t)10 * 1000 * 1000)

struct stream {
    struct stream *next;
    struct box *box;
    int fd;
    sd_event_source *io, *timer;
    struct query *query;
    bool dead;
    uint8_t in[2 + PACKET_MAX];
    size_t in_at;
    uint8_t *out;
    size_t out_length, out_at;
};

void stream_free(struct stream *stream)
{
    struct box *box = stream->box;

    for (struct stream **link = &box->streams; *link; link = &(*link)->next)
        if (*link == stream) {
            *link = stream->next;
            box->n_streams--;
            break;
        }
    if (stream->query)
        query_cancel(stream->query);
    sd_event_source_disable_unref(stream->io);
    sd_event_source_disable_unref(stream->timer);
    close(stream->fd);
    free(stream->out);
    free(stream);
}

void stream_set_query(struct stream *stream, struct query *query)
{
    stream->query = query;
}

static void watch(struct stream *stream)
{
    uint32_t events = stream->out ? EPOLLOUT : stream->query ? 0 : EPOLLIN;

    sd_event_source_set_io_events(stream->io, events);
    sd_event_source_set_time_relative(stream->timer, IDLE_US);
    sd_event_source_set_enabled(stream->timer, SD_EVENT_ONESHOT);
}

void stream_answer(struct stream *stream, const uint8_t *wire, size_t length)
{
    stream->out = malloc(length + 2);
    if (!stream->out) {
        stream->dead = true;
        return;
    }
    stream->out[0] = (uint8_t)(length >> 8);
    stream->out[1] = (uint8_t)length;
    memcpy(stream->out + 2, wire, length);
    stream->out_length = length + 2;
    stream->out_at = 0;
    watch(stream);
}

static void write_some(struct stream *stream)
{
    ssize_t n = send(stream->fd, stream->out + stream->out_at, stream->out_length - stream->out_at,
                     MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        stream->dead = true;
    stream->out_at += n > 0 ? (size_t)n : 0;
    if (stream->out_at < stream->out_length)
        return;
    free(stream->out);
    stream->out = NULL;
}

static size_t wanted(const struct stream *stream)
{
    return stream->in_at < 2 ? 2 : 2 + ((size_t)stream->in[0] << 8 | stream->in[1]);
}

static void read_some(struct stream *stream)
{
    struct asker asker = {.box = stream->box, .stream = stream};

    while (stream->in_at < wanted(stream)) {
        if (wanted(stream) > sizeof(stream->in)) {
            stream->dead = true;
            return;
        }
        ssize_t n = recv(stream->fd, stream->in + stream->in_at, wanted(stream) - stream->in_at, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            stream->dead = true;
            return;
        }
        stream->in_at += (size_t)n;
    }
    size_t length = stream->in_at - 2;
    stream->in_at = 0;
    if (query_begin(&asker, stream->in + 2, length) < 0)
        stream->dead = true;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct stream *stream = userdata;

    (void)source;
    (void)fd;
    if (stream->out)
        write_some(stream);
    else if (!stream->query)
        read_some(stream);
    else if (revents & (EPOLLHUP | EPOLLERR))
        stream->dead = true;
    if (stream->dead)
        stream_free(stream);
    else
        watch(stream);
    return 0;
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    stream_free(userdata);
    return 0;
}

void stream_new(struct box *box, int fd)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream) {
        close(fd);
        return;
    }
    stream->box = box;
    stream->fd = fd;
    stream->next = box->streams;
    box->streams = stream;
    box->n_streams++;
    if (sd_event_add_io(box->control->event, &stream->io, fd, EPOLLIN, on_io, stream) < 0 ||
        sd_event_add_time_relative(box->control->event, &stream->timer, CLOCK_MONOTONIC, IDLE_US, 0,
                                   on_idle, stream) < 0)
        stream_free(stream);
}
