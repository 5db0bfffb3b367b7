/* Theory of operation: see ws.h. The socket stays libmicrohttpd's: MHD_UPGRADE_ACTION_CLOSE gives
 * it back, after which the request ends and with it this object. wslay is never called from inside
 * its own callbacks' objects being freed: `closed` runs from the event loop's turn, once. */
#include "api/ws.h"

#include "api/http.h"
#include "api/ws-deflate.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/utf8.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#define PING_US     (30 * (uint64_t)1000000)
#define FAREWELL_US (5 * (uint64_t)1000000)
#define OUT_SIZE    (32u << 10)
#define DEFLATE_MIN 1024u /* bytes: smaller messages are not worth it */

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

struct ws {
    struct api *api;
    struct http_listener *listener;
    const struct ws_handler *handler;
    void *userdata;
    struct MHD_UpgradeResponseHandle *upgrade;
    int fd;
    sd_event_source *io, *timer;
    wslay_event_context_ptr frames;
    char *early; /* bytes that came with the handshake */
    size_t early_length, early_used;
    uint16_t close_code;
    char *out; /* frames that are to go out together; NULL: none */
    size_t out_length, out_used;
    bool deflate;                                  /* agreed on */
    bool queued;                                   /* since `writable` was last called */
    bool paused, alive, closing, farewell, closed; /* farewell: the close frame is queued */
};

static void finish(struct ws *ws)
{
    if (ws->closed)
        return;
    ws->closed = true;
    ws->io = sd_event_source_disable_unref(ws->io);
    ws->timer = sd_event_source_disable_unref(ws->timer);
    ws->handler->closed(ws->userdata);
    if (ws->upgrade) {
        MHD_upgrade_action(ws->upgrade, MHD_UPGRADE_ACTION_CLOSE);
        http_wake(ws->listener);
    }
}

static ssize_t take_early(struct ws *ws, uint8_t *target, size_t size)
{
    size_t left = ws->early_length - ws->early_used;
    size_t n = left < size ? left : size;

    memcpy(target, ws->early + ws->early_used, n);
    ws->early_used += n;
    return (ssize_t)n;
}

static ssize_t on_receive(wslay_event_context_ptr frames, uint8_t *target, size_t size, int flags,
                          void *userdata)
{
    struct ws *ws = userdata;
    ssize_t n;

    (void)flags;
    if (ws->early_used < ws->early_length) /* few bytes, and nothing would report them again */
        return take_early(ws, target, size);
    do
        n = ws->paused ? -1 : recv(ws->fd, target, size, MSG_DONTWAIT);
    while (n < 0 && !ws->paused && errno == EINTR);
    if (n > 0) {
        ws->alive = true;
        return n;
    }
    bool later = n < 0 && (ws->paused || errno == EAGAIN);
    wslay_event_set_error(frames, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

/* Small frames go out together: they are gathered here, and flush() sends them. */
static ssize_t on_send(wslay_event_context_ptr frames, const uint8_t *data, size_t length,
                       int flags, void *userdata)
{
    struct ws *ws = userdata;

    (void)flags;
    if (!ws->out)
        ws->out = malloc(OUT_SIZE);
    size_t room = ws->out ? OUT_SIZE - ws->out_length : 0;
    if (room == 0) {
        wslay_event_set_error(frames, ws->out ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    size_t n = length < room ? length : room;
    memcpy(ws->out + ws->out_length, data, n);
    ws->out_length += n;
    return (ssize_t)n;
}

/* What has been gathered. 1: all of it has gone, 0: the socket is full. */
static int send_out(struct ws *ws)
{
    while (ws->out_used < ws->out_length) {
        ssize_t n = send(ws->fd, ws->out + ws->out_used, ws->out_length - ws->out_used,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        ws->out_used += (size_t)n;
    }
    free(ws->out); /* an idle connection holds none */
    ws->out = NULL;
    ws->out_length = ws->out_used = 0;
    return 1;
}

static bool has_output(const struct ws *ws)
{
    return ws->out_length > 0 || wslay_event_want_write(ws->frames);
}

static int send_frames(struct ws *ws)
{
    int r = 1;

    while (r == 1 && has_output(ws)) {
        if (wslay_event_want_write(ws->frames) && wslay_event_send(ws->frames) < 0)
            return -EPIPE;
        r = send_out(ws);
    }
    return r;
}

static void take_message(struct ws *ws, bool binary, const char *data, size_t length)
{
    if (!ws->closing)
        ws->handler->message(ws->userdata, binary, data, length);
}

static size_t message_max(const struct ws *ws)
{
    return ws->handler->message_max ? ws->handler->message_max : WS_MESSAGE_MAX;
}

/* wslay checks the UTF-8 of what it can read only. */
static void take_deflated(struct ws *ws, const struct wslay_event_on_msg_recv_arg *arg)
{
    cleanup_free char *data = NULL;
    size_t length;
    bool binary = arg->opcode == WSLAY_BINARY_FRAME;
    int r = ws_inflate((const char *)arg->msg, arg->msg_length, message_max(ws), &data, &length);

    if (r < 0)
        ws_close(ws, r == -EMSGSIZE ? WSLAY_CODE_MESSAGE_TOO_BIG : WSLAY_CODE_PROTOCOL_ERROR);
    else if (!binary && !utf8_valid(data, length))
        ws_close(ws, WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA);
    else
        take_message(ws, binary, data, length);
}

static void on_message(wslay_event_context_ptr frames,
                       const struct wslay_event_on_msg_recv_arg *arg, void *userdata)
{
    struct ws *ws = userdata;

    (void)frames;
    if (arg->opcode != WSLAY_TEXT_FRAME && arg->opcode != WSLAY_BINARY_FRAME)
        return;
    if (arg->rsv & WSLAY_RSV1_BIT)
        take_deflated(ws, arg);
    else
        take_message(ws, arg->opcode == WSLAY_BINARY_FRAME, (const char *)arg->msg,
                     arg->msg_length);
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_receive,
    .send_callback = on_send,
    .on_msg_recv_callback = on_message,
};

static void update_events(struct ws *ws)
{
    bool write = has_output(ws) || (ws->closing && !ws->farewell);
    uint32_t events =
        (wslay_event_want_read(ws->frames) && !ws->paused ? EPOLLIN : 0) | (write ? EPOLLOUT : 0);

    sd_event_source_set_io_events(ws->io, events);
}

/* wslay sends control frames before all data: the close frame must not be queued earlier. */
static void queue_farewell(struct ws *ws)
{
    if (!ws->closing || ws->farewell || has_output(ws))
        return;
    ws->farewell = true;
    wslay_event_queue_close(ws->frames, ws->close_code, NULL, 0);
    if (send_frames(ws) < 0)
        finish(ws);
}

static void flush(struct ws *ws)
{
    if (send_frames(ws) < 0)
        finish(ws);
    if (!ws->closed)
        queue_farewell(ws);
    if (ws->closed)
        return;
    if (!wslay_event_want_read(ws->frames) && !has_output(ws)) {
        finish(ws);
        return;
    }
    update_events(ws);
    if (ws->queued && !has_output(ws)) {
        ws->queued = false;
        ws->handler->writable(ws->userdata);
    }
}

static void receive(struct ws *ws)
{
    if (wslay_event_want_read(ws->frames) && wslay_event_recv(ws->frames) < 0)
        finish(ws);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct ws *ws = userdata;
    (void)source;
    (void)fd;
    if (events & EPOLLIN)
        receive(ws);
    if (!ws->closed && (events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN))
        finish(ws);
    if (!ws->closed)
        flush(ws);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct ws *ws = userdata;
    const struct wslay_event_msg ping = {.opcode = WSLAY_PING};

    (void)usec;
    if (ws->closing || !ws->alive) {
        finish(ws);
        return 0;
    }
    ws->alive = ws->paused; /* one that we do not read from cannot show life */
    sd_event_source_set_time_relative(source, PING_US);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    wslay_event_queue_msg(ws->frames, &ping);
    flush(ws);
    return 0;
}

static int start(struct ws *ws)
{
    int one = 1;

    fd_set_nonblock(ws->fd, true);
    setsockopt(ws->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on a unix socket */
    int r = wslay_event_context_server_init(&ws->frames, &callbacks, ws);
    if (r < 0)
        return -ENOMEM;
    wslay_event_config_set_max_recv_msg_length(ws->frames, message_max(ws));
    if (ws->deflate)
        wslay_event_config_set_allowed_rsv_bits(ws->frames, WSLAY_RSV1_BIT);
    ws->alive = true;
    r = sd_event_add_io(ws->api->event, &ws->io, ws->fd, EPOLLIN, on_io, ws);
    if (r >= 0)
        r = sd_event_add_time_relative(ws->api->event, &ws->timer, CLOCK_MONOTONIC, PING_US, 1000,
                                       on_timer, ws);
    return r;
}

static void on_upgrade(void *userdata, struct MHD_Connection *connection, void *state,
                       const char *extra, size_t extra_length, MHD_socket socket,
                       struct MHD_UpgradeResponseHandle *upgrade)
{
    struct ws *ws = userdata;

    (void)connection;
    (void)state;
    ws->upgrade = upgrade;
    ws->fd = socket;
    MHD_upgrade_action(upgrade, MHD_UPGRADE_ACTION_CORK_OFF);
    if (extra_length > 0 && (ws->early = malloc(extra_length))) {
        memcpy(ws->early, extra, extra_length);
        ws->early_length = extra_length;
    }
    if ((extra_length > 0 && !ws->early) || start(ws) < 0) {
        finish(ws);
        return;
    }
    ws->handler->opened(ws->userdata);
    if (!ws->closed && ws->early_length > 0)
        receive(ws);
    if (!ws->closed)
        flush(ws);
}

static bool has_token(const char *list, const char *token)
{
    size_t length = strlen(token);

    while (list && *list) {
        list += strspn(list, ", \t");
        size_t n = strcspn(list, ", \t");
        if (n == length && strncasecmp(list, token, n) == 0)
            return true;
        list += n;
    }
    return false;
}

static int check_handshake(struct http_request *request, struct error *err)
{
    const char *version = http_get_header(request, "Sec-WebSocket-Version");
    const char *key = http_get_header(request, "Sec-WebSocket-Key");

    if (!has_token(http_get_header(request, "Upgrade"), "websocket") ||
        !has_token(http_get_header(request, "Connection"), "upgrade")) {
        http_header(request, "Upgrade", "websocket");
        return error_set_code(err, EINVAL, "upgrade_required", "this path speaks WebSocket only");
    }
    if (!version || strcmp(version, "13") != 0) {
        http_header(request, "Sec-WebSocket-Version", "13");
        return error_set_code(err, EINVAL, "upgrade_required",
                              "only version 13 of the WebSocket protocol is spoken");
    }
    if (!key || strlen(key) != 24)
        return error_set_code(err, EINVAL, "invalid_handshake",
                              "Sec-WebSocket-Key is missing or malformed");
    return 0;
}

static int add_accept(struct http_request *request)
{
    char text[24 + sizeof(guid)];
    unsigned char digest[20];
    gnutls_datum_t raw = {digest, sizeof(digest)}, encoded;

    snprintf(text, sizeof(text), "%s%s", http_get_header(request, "Sec-WebSocket-Key"), guid);
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), digest) < 0 ||
        gnutls_base64_encode2(&raw, &encoded) < 0)
        return -ENOMEM;
    http_header(request, "Sec-WebSocket-Accept", "%s", (const char *)encoded.data);
    gnutls_free(encoded.data);
    return 0;
}

/* A browser that offered the subprotocol must get it back, or it gives the connection up. */
static void add_protocol(struct http_request *request)
{
    char token[128];
    const char *offered = http_get_header(request, "Sec-WebSocket-Protocol");

    if (!offered)
        return;
    snprintf(token, sizeof(token), "%.*s", (int)strcspn(offered, ", \t"), offered);
    http_header(request, "Sec-WebSocket-Protocol", "%s", token);
}

int ws_accept(struct http_request *request, const struct ws_handler *handler, void *userdata,
              struct ws **ret_ws, struct error *err)
{
    int r = check_handshake(request, err);

    if (r < 0)
        return r;
    struct ws *ws = calloc(1, sizeof(*ws));
    if (!ws || add_accept(request) < 0) {
        free(ws);
        return error_oom(err);
    }
    add_protocol(request);
    http_header(request, "Upgrade", "websocket");
    *ws = (struct ws){.api = request->api,
                      .listener = request->listener,
                      .handler = handler,
                      .userdata = userdata,
                      .fd = -1};
    const char *extension =
        handler->deflate
            ? ws_deflate_negotiate(http_get_header(request, "Sec-WebSocket-Extensions"))
            : NULL;
    if (extension)
        http_header(request, "Sec-WebSocket-Extensions", "%s", extension);
    ws->deflate = extension != NULL;
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, ws);
    if (!response) {
        free(ws);
        return error_oom(err);
    }
    *ret_ws = ws;
    http_respond(request, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    return 0;
}

void ws_free(struct ws *ws)
{
    if (!ws)
        return;
    finish(ws);
    if (ws->frames)
        wslay_event_context_free(ws->frames);
    free(ws->early);
    free(ws->out);
    free(ws);
}

int ws_send(struct ws *ws, unsigned char prefix, const void *data, size_t length)
{
    unsigned char *message;

    if (ws->closed || ws->closing || !ws->frames)
        return -EPIPE;
    message = malloc(length + 1);
    if (!message)
        return -ENOMEM;
    message[0] = prefix;
    memcpy(message + 1, data, length);
    const struct wslay_event_msg arg = {
        .opcode = WSLAY_BINARY_FRAME, .msg = message, .msg_length = length + 1};
    int r = wslay_event_queue_msg(ws->frames, &arg);
    free(message);
    if (r < 0)
        return r == WSLAY_ERR_NOMEM ? -ENOMEM : -EPIPE;
    ws->queued = true;
    update_events(ws);
    return 0;
}

static int queue_text(struct ws *ws, const char *data, size_t length, uint8_t rsv)
{
    const struct wslay_event_msg arg = {
        .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)data, .msg_length = length};
    int r = wslay_event_queue_msg_ex(ws->frames, &arg, rsv);

    if (r < 0)
        return r == WSLAY_ERR_NOMEM ? -ENOMEM : -EPIPE;
    ws->queued = true;
    update_events(ws);
    return 0;
}

int ws_send_text(struct ws *ws, struct ws_text *text)
{
    if (ws->closed || ws->closing || !ws->frames)
        return -EPIPE;
    if (ws->deflate && !text->tried && text->length >= DEFLATE_MIN) {
        text->tried = true;
        text->deflated = ws_deflate(text->text, text->length, &text->deflated_length);
    }
    return ws->deflate && text->deflated
               ? queue_text(ws, text->deflated, text->deflated_length, WSLAY_RSV1_BIT)
               : queue_text(ws, text->text, text->length, WSLAY_RSV_NONE);
}

void ws_text_clear(struct ws_text *text)
{
    free(text->deflated);
    text->deflated = NULL;
}

size_t ws_queued(const struct ws *ws)
{
    return ws->frames
               ? wslay_event_get_queued_msg_length(ws->frames) + ws->out_length - ws->out_used
               : 0;
}

void ws_pause(struct ws *ws, bool paused)
{
    if (ws->paused == paused || ws->closed)
        return;
    ws->paused = paused;
    update_events(ws);
}

void ws_close(struct ws *ws, uint16_t code)
{
    if (ws->closed || ws->closing || !ws->frames)
        return;
    ws->closing = true;
    ws->paused = false;
    ws->close_code = code;
    sd_event_source_set_time_relative(ws->timer, FAREWELL_US);
    sd_event_source_set_enabled(ws->timer, SD_EVENT_ONESHOT);
    update_events(ws);
}

void ws_abort(struct ws *ws, uint16_t code)
{
    ws_close(ws, code);
    if (!ws->closed && ws->frames)
        flush(ws);
    finish(ws);
}
