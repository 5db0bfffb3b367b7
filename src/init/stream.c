/* Theory of operation. A stream is a cursor in a log ring and a packet socket. It is pumped when
 * something was logged and when the socket has room again; what the socket does not take stays in
 * the ring. Streams are woken from deep inside the reading of a process, so one that is through
 * only stops and is freed by a timer from the top of the loop. */
#include "init/stream.h"

#include "init/process-io.h"
#include "init/ring.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/fields.h"
#include "base/protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A lossless stream further behind makes the process wait. Far below the smallest ring. */
#define HOLD_BYTES    65536u
#define INPUT_PACKETS 16

struct stream {
    struct watch watch;
    struct ring_cursor cursor;
    struct process *process; /* NULL: the service's log */
    struct timer close_timer;
    struct stream *next;
    int64_t stop; /* log offset where a stream that does not follow ends */
    int64_t gap;  /* bytes to report */
    bool feeds_stdin, lossless;
    bool offset_sent;
    bool blocked; /* the socket is full */
    bool hung_up; /* nobody reads; packets that were sent to us may still wait */
};

static struct {
    struct stream *first;
    unsigned int count;
} streams;

static bool closing(const struct stream *stream)
{
    return stream->close_timer.deadline_ms != 0;
}

static void stream_stop(struct stream *stream)
{
    loop_unwatch(&stream->watch);
    timer_set(&stream->close_timer, 0);
}

static void stream_free(struct stream *stream)
{
    struct stream **place = &streams.first;

    while (*place != stream)
        place = &(*place)->next;
    *place = stream->next;
    streams.count--;
    timer_cancel(&stream->close_timer);
    loop_unwatch(&stream->watch);
    ring_cursor_close(&stream->cursor);
    close(stream->watch.fd);
    free(stream);
}

static void on_close(struct timer *timer)
{
    struct stream *stream =
        (struct stream *)(void *)((char *)timer - offsetof(struct stream, close_timer));
    struct process *process = stream->process;

    stream_free(stream);
    if (process)
        process_stream_gone(process);
}

/* Output */

static int send_packet(struct stream *stream, const void *packet, size_t length)
{
    while (send(stream->watch.fd, packet, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 1;
}

/* `message` is stolen. */
static int send_json(struct stream *stream, json_t *message)
{
    cleanup_json json_t *owned = message;
    cleanup_free char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
    size_t length = text ? strlen(text) : 0;
    cleanup_free char *packet = malloc(length + 1);

    if (!text || !packet)
        return -ENOMEM;
    packet[0] = STREAM_CONTROL;
    memcpy(packet + 1, text, length);
    return send_packet(stream, packet, length + 1);
}

static int send_offset(struct stream *stream)
{
    int r = send_json(stream, json_pack("{s:s, s:I}", "type", "offset", "next",
                                        (json_int_t)stream->cursor.place.offset));

    stream->offset_sent = r > 0;
    return r;
}

static int send_gap(struct stream *stream)
{
    int r =
        send_json(stream, json_pack("{s:s, s:I}", "type", "gap", "bytes", (json_int_t)stream->gap));

    if (r > 0)
        stream->gap = 0;
    return r;
}

static int send_end(struct stream *stream)
{
    int64_t end;
    int r = 1;

    if (stream->process && process_finished(stream->process, &end))
        r = send_json(stream, json_pack("{s:s, s:o}", "type", "exit", "process",
                                        process_to_json(stream->process)));
    if (r > 0)
        stream_stop(stream);
    return r > 0 ? 0 : r;
}

static int send_data(struct stream *stream, int64_t end)
{
    static unsigned char packet[STREAM_CHUNK_MAX + 1];
    int64_t left = end - stream->cursor.place.offset;
    size_t size = left < STREAM_CHUNK_MAX ? (size_t)left : STREAM_CHUNK_MAX, length;
    struct ring_place after;
    unsigned int channel;
    int r;

    if (!ring_cursor_peek(&stream->cursor, &channel, packet + 1, size, &length, &after))
        return 0;
    packet[0] = (unsigned char)channel;
    if (channel == STREAM_CONTROL)
        r = send_json(stream, json_pack("{s:s}", "type", "restart"));
    else
        r = send_packet(stream, packet, length + 1);
    if (r > 0)
        stream->cursor.place = after;
    return r;
}

/* 1: sent a packet, 0: nothing to send, -EAGAIN: no room, else the peer is gone. */
static int send_next(struct stream *stream)
{
    int64_t end = stream->stop;

    if (!stream->offset_sent)
        return send_offset(stream);
    stream->gap += ring_cursor_gap(&stream->cursor);
    if (stream->gap > 0)
        return send_gap(stream);
    if (stream->process)
        process_finished(stream->process, &end);
    if (end > stream->stop)
        end = stream->stop;
    if (stream->cursor.place.offset >= end)
        return send_end(stream);
    return send_data(stream, end);
}

static void rewatch(struct stream *stream)
{
    bool input_waits = stream->feeds_stdin && process_input_full(stream->process);
    uint32_t events = (input_waits ? 0 : EPOLLIN) | (stream->blocked ? EPOLLOUT : 0);

    if (closing(stream))
        return;
    if (stream->hung_up && input_waits)
        loop_unwatch(&stream->watch); /* a hang-up would be reported for ever */
    else if (loop_watch(&stream->watch, events) < 0)
        stream_stop(stream);
}

static void pump(struct stream *stream)
{
    int r = 1;

    while (r > 0 && !stream->hung_up && !closing(stream))
        r = send_next(stream);
    if (r < 0 && r != -EAGAIN)
        stream->hung_up = true;
    if (stream->blocked != (r == -EAGAIN)) {
        stream->blocked = r == -EAGAIN;
        rewatch(stream);
    }
}

static void on_logged(struct ring_cursor *cursor)
{
    struct stream *stream =
        (struct stream *)(void *)((char *)cursor - offsetof(struct stream, cursor));

    if (!stream->blocked)
        pump(stream);
}

/* Input */

struct control {
    const char *type, *signal;
    int64_t rows, cols;
};

static const char *const control_types[] = {"resize", "signal", NULL};

static const struct field control_fields[] = {
    {"type", FIELD_CHOICE, offsetof(struct control, type), .required = true,
     .choices = control_types},
    {"signal", FIELD_STRING, offsetof(struct control, signal), .required = false},
    {"rows", FIELD_INT, offsetof(struct control, rows), .min = 1, .max = 65535},
    {"cols", FIELD_INT, offsetof(struct control, cols), .min = 1, .max = 65535},
};

/* There is nobody to tell of a mistake: what is not understood is left out. */
static void take_control(struct stream *stream, const char *text, size_t length)
{
    cleanup_json json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    struct control control = {0};

    if (!json_is_object(message) ||
        fields_decode(message, control_fields, ELEMENTS(control_fields), "", &control, NULL) < 0)
        return;
    if (strcmp(control.type, "resize") == 0 && control.rows && control.cols)
        process_resize(stream->process, control.rows, control.cols, NULL);
    int signal = control.signal ? signal_number(control.signal) : 0;
    if (strcmp(control.type, "signal") == 0 && signal > 0)
        process_signal(stream->process, signal, true, NULL);
}

static void take_packet(struct stream *stream, const char *packet, size_t length)
{
    if (!stream->process)
        return;
    if (packet[0] == STREAM_CONTROL)
        take_control(stream, packet + 1, length - 1);
    else if (packet[0] == STREAM_STDIN && stream->feeds_stdin && length == 1)
        process_input_end(stream->process);
    else if (packet[0] == STREAM_STDIN && stream->feeds_stdin)
        process_input(stream->process, packet + 1, length - 1);
}

static void take_input(struct stream *stream)
{
    static char packet[STREAM_CHUNK_MAX + 1];

    for (int i = 0; i < INPUT_PACKETS; i++) {
        if (closing(stream) || (stream->feeds_stdin && process_input_full(stream->process)))
            return;
        ssize_t n = recv(stream->watch.fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || (size_t)n > sizeof(packet)) {
            stream_stop(stream);
            return;
        }
        take_packet(stream, packet, (size_t)n);
    }
}

static void on_stream(struct watch *watch, uint32_t events)
{
    struct stream *stream = (struct stream *)watch;

    if (events & (EPOLLHUP | EPOLLERR))
        stream->hung_up = true;
    if (events & EPOLLOUT)
        pump(stream);
    take_input(stream);
    rewatch(stream);
    if (stream->process)
        process_stream_changed(stream->process);
}

/* Processes */

bool stream_holds(const struct process *process)
{
    for (const struct stream *stream = streams.first; stream; stream = stream->next)
        if (stream->process == process && stream->lossless && !stream->hung_up &&
            !closing(stream) && ring_cursor_behind(&stream->cursor) > HOLD_BYTES)
            return true;
    return false;
}

bool stream_any(const struct process *process)
{
    const struct stream *stream = streams.first;

    while (stream && stream->process != process)
        stream = stream->next;
    return stream != NULL;
}

void stream_process_changed(struct process *process)
{
    for (struct stream *stream = streams.first; stream; stream = stream->next) {
        if (stream->process != process || closing(stream))
            continue;
        pump(stream);
        take_input(stream);
        rewatch(stream);
    }
}

void stream_process_gone(struct process *process)
{
    struct stream *next;

    for (struct stream *stream = streams.first; stream; stream = next) {
        next = stream->next;
        if (stream->process == process)
            stream_free(stream);
    }
}

/* Attaching */

static int check_socket(int fd, struct error *err)
{
    int type = 0, domain = 0;
    socklen_t size = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || type != SOCK_SEQPACKET ||
        domain != AF_UNIX)
        return error_set(err, EINVAL, "a stream is a local packet socket");
    return 0;
}

static int attach(struct ring *ring, struct process *process, const struct stream_options *options,
                  int fd, struct error *err)
{
    cleanup_close int socket = fd;
    int r = check_socket(socket, err);

    if (r < 0)
        return r;
    if (streams.count >= STREAMS_MAX)
        return error_set_code(err, EAGAIN, "too_many_streams",
                              "%u streams are open, which is "
                              "the most there may be",
                              STREAMS_MAX);
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return error_oom(err);
    fd_set_nonblock(socket, true);
    fd_set_cloexec(socket, true);
    stream->watch = (struct watch){.fd = TAKE_FD(socket), .handler = on_stream};
    stream->process = process;
    stream->close_timer.handler = on_close;
    stream->feeds_stdin = process && options->feeds_stdin;
    stream->lossless = process && options->lossless;
    stream->stop = options->follow ? INT64_MAX : ring_next(ring);
    stream->cursor.wake = on_logged;
    ring_cursor_open(&stream->cursor, ring, options->since);
    stream->next = streams.first;
    streams.first = stream;
    streams.count++;
    rewatch(stream);
    pump(stream);
    return 0;
}

int stream_attach_process(struct process *process, const struct stream_options *options, int fd,
                          struct error *err)
{
    return attach(process_log(process), process, options, fd, err);
}

int stream_attach_ring(struct ring *ring, int64_t since, bool follow, int stream_fd,
                       struct error *err)
{
    const struct stream_options options = {.since = since, .follow = follow};

    return attach(ring, NULL, &options, stream_fd, err);
}
