/* Theory of operation: see h2.h. Nothing is done from inside libnghttp2's callbacks but to note
 * what came: streams' clients run afterwards, by worker_again, and what they submit is sent when
 * the carrier runs again. While what was sent before waits for the socket no input is read, so a
 * peer that does not read cannot make us grow. */
#include "proxy/h2.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

#define OUT_ROOM 32768u /* of `out`, before libnghttp2 is asked for another frame */

void h2_flush_later(struct h2 *h2)
{
    worker_again(h2->carrier->worker, h2->carrier);
}

void h2_stream_wake(struct h2_stream *stream)
{
    if (!stream->client)
        return;
    stream->client->peer.readable = true;
    worker_again(stream->worker, stream->client);
}

void h2_stream_writable(struct h2_stream *stream)
{
    if (!stream->client)
        return;
    stream->client->peer.writable = true;
    worker_again(stream->worker, stream->client);
}

void h2_stream_reset(struct h2_stream *stream, uint32_t code)
{
    if (!stream->h2)
        return;
    nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, code);
    h2_flush_later(stream->h2);
}

/* ---- streams
 * ------------------------------------------------------------------------------------------ */

static struct h2_stream *stream_new(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    stream->worker = h2->carrier->worker;
    stream->h2 = h2;
    stream->id = id;
    stream->next = h2->streams;
    if (stream->next)
        stream->next->previous = stream;
    h2->streams = stream;
    h2->n_streams++;
    return stream;
}

/* Once neither libnghttp2 nor a client has it. */
static void stream_free(struct h2_stream *stream)
{
    struct buffer_pool *pool = &stream->worker->buffers;

    if (stream->h2 || stream->client)
        return;
    h2_request_free(stream);
    buffer_drop(pool, &stream->head);
    buffer_drop(pool, &stream->request);
    buffer_drop(pool, &stream->body);
    free(stream);
}

/* libnghttp2 is done with it; a client that is not yet finds its connection lost. */
static void stream_detach(struct h2 *h2, struct h2_stream *stream)
{
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        h2->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    h2->n_streams--;
    stream->h2 = NULL;
    if (stream->client && (!stream->ended || stream->state != H2_DONE || stream->body.length > 0))
        stream->client->peer.failed = true;
    h2_stream_wake(stream);
    stream_free(stream);
}

/* ---- the transport of streams' clients
 * ---------------------------------------------------------------- */

static ssize_t receive_stream(struct peer *peer, void *data, size_t room)
{
    size_t got = 0;

    peer->more = false;
    while (got < room) {
        ssize_t n = h2_request_read(peer->layer, (char *)data + got, room - got);
        if (n <= 0 && got == 0)
            return n == -ENOBUFS ? -EINTR : n; /* once there is room */
        if (n <= 0) {
            peer->more = n != -EAGAIN;
            break;
        }
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static ssize_t send_stream(struct peer *peer, const struct iovec *parts, size_t n_parts)
{
    size_t sent = 0;

    for (size_t i = 0; i < n_parts; i++) {
        ssize_t n = h2_response_write(peer->layer, parts[i].iov_base, parts[i].iov_len);
        if (n < 0)
            return sent > 0 && n == -EAGAIN ? (ssize_t)sent : n;
        sent += (size_t)n;
        if ((size_t)n < parts[i].iov_len)
            break;
    }
    return (ssize_t)sent;
}

static void shut_stream(struct peer *peer)
{
    h2_response_shut(peer->layer);
}

static void release_stream(struct peer *peer)
{
    struct h2_stream *stream = peer->layer;

    peer->layer = NULL;
    stream->client = NULL;
    if (stream->h2 && stream->state != H2_DONE)
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    stream_free(stream);
}

const struct transport transport_stream = {
    .receive = receive_stream, .send = send_stream, .shut = shut_stream, .release = release_stream};

/* ---- callbacks
 * ---------------------------------------------------------------------------------------- */

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int calm_down(struct h2 *h2)
{
    nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
    h2->over = true;
    return 0;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *userdata)
{
    struct h2 *h2 = userdata;
    bool ends = hd->type == NGHTTP2_DATA && (hd->flags & NGHTTP2_FLAG_END_STREAM);

    (void)session;
    if (!h2->over &&
        !h2_budget_frame(&h2->budget, h2->carrier->worker->timers.now, hd->type, hd->length, ends))
        return calm_down(h2);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
    struct h2 *h2 = userdata;
    int32_t id = frame->hd.stream_id;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *stream = stream_new(h2, id);
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, id, stream);
    return 0;
}

static int refuse(nghttp2_session *session, int32_t id)
{
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *userdata)
{
    struct h2_stream *stream = stream_of(session, frame->hd.stream_id);
    const struct text n = {(const char *)name, name_length},
                      v = {(const char *)value, value_length};

    (void)flags;
    if (!stream)
        return 0;
    int r = h2_request_field(stream, n, v);
    if (r == -E2BIG)
        calm_down(userdata);
    return r < 0 ? refuse(session, frame->hd.stream_id) : 0;
}

/* libnghttp2 would drop the field and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_length, const uint8_t *value,
                             size_t value_length, uint8_t flags, void *userdata)
{
    (void)name;
    (void)name_length;
    (void)value;
    (void)value_length;
    (void)flags;
    (void)userdata;
    return refuse(session, frame->hd.stream_id);
}

static int on_headers(struct h2_stream *stream, const nghttp2_frame *frame)
{
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        return h2_request_headers(stream, ends);
    return ends ? h2_request_trailers(stream) : -EPROTO;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
    struct h2_stream *stream = stream_of(session, frame->hd.stream_id);
    int r = 0;

    (void)userdata;
    if (!stream)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        r = on_headers(stream, frame);
    } else if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        stream->ended = true;
        h2_stream_wake(stream);
    }
    if (r < 0)
        h2_stream_reset(stream, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t length, void *userdata)
{
    struct h2_stream *stream = stream_of(session, id);

    (void)flags;
    (void)userdata;
    if (!stream || !stream->client) { /* answered already: read away */
        nghttp2_session_consume(session, id, length);
        return 0;
    }
    if (h2_request_data(stream, (struct text){(const char *)data, length}) < 0)
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
    struct h2 *h2 = userdata;
    struct h2_stream *stream = stream_of(session, frame->hd.stream_id);
    bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);

    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length > 0)
        h2_budget_frame(&h2->budget, h2->carrier->worker->timers.now, NGHTTP2_DATA,
                        frame->hd.length, false);
    /* The client need not send the rest of a request that is answered (RFC 9113, 8.1). */
    if (stream && ends && !stream->ended)
        h2_stream_reset(stream, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *userdata)
{
    struct h2_stream *stream = stream_of(session, id);

    (void)code;
    if (!stream)
        return 0;
    if (stream->unconsumed > 0)
        nghttp2_session_consume_connection(session, stream->unconsumed);
    stream->unconsumed = 0;
    stream_detach(userdata, stream);
    return 0;
}

/* ---- the connection
 * ------------------------------------------------------------------------------------ */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

static nghttp2_session *make_session(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;

    if (callbacks && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_continuations(option, 16);
        nghttp2_option_set_stream_reset_rate_limit(option, 400, 40);
        if (nghttp2_session_server_new2(&session, callbacks, h2, option) != 0)
            session = NULL;
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static int greet(nghttp2_session *session)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_MAX},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };

    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ELEMENTS(settings)) != 0)
        return -ENOMEM;
    return nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                                 H2_CONNECTION_WINDOW);
}

void h2_start(struct client *carrier)
{
    struct h2 *h2 = calloc(1, sizeof(*h2));

    carrier->h2 = h2;
    carrier->state = CLIENT_H2;
    if (h2) {
        h2->carrier = carrier;
        h2->session = make_session(h2);
        h2_budget_init(&h2->budget, carrier->worker->timers.now);
    }
    if (!h2 || !h2->session || greet(h2->session) != 0)
        client_close(carrier);
}

/* Moves frames into `out`; what does not fit stays libnghttp2's until there is room. */
static int render(struct h2 *h2)
{
    struct buffer *out = &h2->carrier->peer.out;

    if (buffer_hold(&h2->carrier->worker->buffers, out) < 0)
        return -ENOMEM;
    while (buffer_room(out) >= OUT_ROOM || h2->n_pending > 0) {
        if (h2->n_pending == 0) {
            ssize_t n = nghttp2_session_mem_send(h2->session, &h2->pending);
            if (n <= 0)
                return n < 0 ? -EPROTO : 0;
            h2->n_pending = (size_t)n;
        }
        size_t room = buffer_room(out), n = h2->n_pending < room ? h2->n_pending : room;
        if (n == 0)
            return 0;
        buffer_add(out, h2->pending, n);
        h2->pending += n;
        h2->n_pending -= n;
    }
    return 0;
}

static int send_all(struct h2 *h2, bool *moved)
{
    struct peer *peer = &h2->carrier->peer;

    for (unsigned int i = 0; i < RUN_ROUNDS; i++) {
        size_t before;
        if (render(h2) < 0)
            return -EPROTO;
        before = peer->out.length;
        if (before == 0 || !peer->writable)
            return 0;
        if (peer_send(peer, NULL, 0) < 0)
            return -ECONNRESET;
        *moved = *moved || peer->out.length < before;
    }
    h2_flush_later(h2);
    return 0;
}

static int receive(struct h2 *h2, bool *moved)
{
    struct peer *peer = &h2->carrier->peer;
    struct buffer_pool *pool = &h2->carrier->worker->buffers;

    if (h2->over || peer->out.length > 0 || !peer->readable)
        return 0;
    if (peer_fill(pool, peer) < 0)
        return -ECONNRESET;
    if (peer->in.length == 0)
        return 0;
    ssize_t n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)buffer_head(&peer->in),
                                         peer->in.length);
    buffer_take(&peer->in, peer->in.length);
    buffer_trim(pool, &peer->in);
    *moved = true;
    if (n == NGHTTP2_ERR_FLOODED)
        return calm_down(h2);
    if (n < 0) { /* says why, where that is still possible */
        nghttp2_session_terminate_session(h2->session, NGHTTP2_PROTOCOL_ERROR);
        h2->over = true;
    }
    return 0;
}

static void arm_timer(struct h2 *h2, bool moved)
{
    struct timers *timers = &h2->carrier->worker->timers;
    struct timer *timer = &h2->carrier->peer.timer;
    bool stalled = h2->carrier->peer.out.length > 0;
    enum timer_class class = h2->over ? TIMER_LINGER : stalled ? TIMER_STALLED : TIMER_IDLE;

    if (!stalled && h2->n_streams > 0 && !h2->over)
        timer_cancel(timer);
    else if (!timer->next || timer->class != class || (moved && stalled && !h2->over))
        timer_arm(timers, timer, class);
}

static bool is_over(const struct h2 *h2)
{
    const struct peer *peer = &h2->carrier->peer;
    bool quiet =
        !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);

    return (quiet || h2->over) && peer->out.length == 0 && h2->n_pending == 0;
}

void h2_run(struct client *carrier)
{
    struct h2 *h2 = carrier->h2;
    bool moved = false;
    int r = 0;

    for (unsigned int i = 0; r == 0 && i < RUN_ROUNDS; i++) {
        bool read = false;
        r = send_all(h2, &moved);
        if (r == 0)
            r = receive(h2, &read);
        moved = moved || read;
        if (!read)
            break;
        if (i + 1 == RUN_ROUNDS)
            worker_again(carrier->worker, carrier);
    }
    if (r < 0 || carrier->peer.eof || carrier->peer.failed) {
        client_close(carrier);
    } else if (is_over(h2)) {
        h2_free(carrier);
        carrier->keep_alive = false;
        client_finish(carrier); /* reads away what still comes, so that the peer gets our reason */
    } else {
        arm_timer(h2, moved);
    }
}

void h2_drain(struct client *carrier)
{
    nghttp2_session *session = carrier->h2->session;

    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR, NULL,
                          0);
    h2_flush_later(carrier->h2);
}

void h2_timeout(struct client *carrier)
{
    struct h2 *h2 = carrier->h2;

    if (h2->over || h2->n_streams > 0) {
        client_close(carrier);
        return;
    }
    nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
    h2->over = true;
    h2_run(carrier);
}

void h2_free(struct client *carrier)
{
    struct h2 *h2 = carrier->h2;

    if (!h2)
        return;
    carrier->h2 = NULL;
    for (struct h2_stream *stream = h2->streams, *next; stream; stream = next) {
        next = stream->next;
        stream_detach(h2, stream);
    }
    nghttp2_session_del(h2->session);
    free(h2);
}
