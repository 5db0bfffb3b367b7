/* Theory of operation: see ws.h. The handshake's answer is read byte by byte up to its blank line,
 * so that no frame is ever swallowed with it; it is short and happens once. Sec-WebSocket-Accept is
 * not checked: it is there to unmask caches between client and server, and would take a SHA-1. */
#include "cli/ws.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <llhttp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#define HEAD_MAX             16384u
#define BODY_MAX             65536u
#define HANDSHAKE_TIMEOUT_MS 15000
#define MESSAGE_MAX          (1u << 20)

struct ws {
    CURL *curl;
    curl_socket_t fd;
    wslay_event_context_ptr frames;
    ws_message_fn on_message;
    void *userdata;
    bool lost;
};

void ws_free(struct ws *ws)
{
    if (!ws)
        return;
    if (ws->frames)
        wslay_event_context_free(ws->frames);
    curl_easy_cleanup(ws->curl);
    free(ws);
}

static int wait_for(const struct ws *ws, short events, struct error *err)
{
    struct pollfd poll_fd = {.fd = ws->fd, .events = events};
    int n = poll(&poll_fd, 1, HANDSHAKE_TIMEOUT_MS);

    if (n == 0)
        return error_set(err, ETIMEDOUT, "the server does not answer the WebSocket handshake");
    return n < 0 && errno != EINTR ? error_sys(err, errno, "poll") : 0;
}

static int send_all(struct ws *ws, const char *data, size_t length, struct error *err)
{
    while (length > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(ws->curl, data, length, &sent);

        if (code == CURLE_AGAIN) {
            int r = wait_for(ws, POLLOUT, err);
            if (r < 0)
                return r;
        } else if (code != CURLE_OK) {
            return error_set(err, EIO, "sending the handshake: %s", curl_easy_strerror(code));
        }
        data += sent;
        length -= sent;
    }
    return 0;
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 16 random bytes in base64: 21 full characters, one of two bits, two of padding. */
static int make_key(char key[25])
{
    unsigned char bytes[22];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return -EIO;
    for (size_t i = 0; i < 22; i++)
        key[i] = base64[bytes[i] & (i == 21 ? 0x30 : 0x3f)];
    strcpy(key + 22, "==");
    return 0;
}

static int send_request(struct ws *ws, struct client *client, const char *path, struct error *err)
{
    const char *host = strstr(client->base, "://") + 3;
    cleanup_free char *bearer = NULL, *request = NULL;
    char key[25];

    if (make_key(key) < 0)
        return error_set(err, EIO, "no random bytes from the kernel");
    if (client->token)
        bearer = str_format("Authorization: Bearer %s\r\n", client->token);
    request = str_format("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n"
                         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: %s\r\n%s\r\n",
                         path, host, key, bearer ? bearer : "");
    if (!request || (client->token && !bearer))
        return error_oom(err);
    return send_all(ws, request, strlen(request), err);
}

struct head {
    llhttp_t parser;
    llhttp_settings_t settings;
    char *body;
    size_t body_length;
    bool done;
};

static int on_head_body(llhttp_t *parser, const char *data, size_t length)
{
    struct head *head = parser->data;

    if (length > BODY_MAX - head->body_length)
        return -1;
    memcpy(head->body + head->body_length, data, length);
    head->body_length += length;
    return 0;
}

static int on_head_end(llhttp_t *parser)
{
    struct head *head = parser->data;

    head->done = true;
    return 0;
}

static int receive_some(struct ws *ws, char *buffer, size_t size, size_t *ret_length,
                        struct error *err)
{
    for (;;) {
        CURLcode code = curl_easy_recv(ws->curl, buffer, size, ret_length);

        if (code == CURLE_OK && *ret_length > 0)
            return 0;
        if (code != CURLE_AGAIN)
            return error_set(err, ECONNRESET, "the server ended the WebSocket handshake");
        int r = wait_for(ws, POLLIN, err);
        if (r < 0)
            return r;
    }
}

static int read_answer(struct ws *ws, struct head *head, struct error *err)
{
    size_t total = 0;

    while (!head->done) {
        char byte;
        size_t length = 0;
        int r = receive_some(ws, &byte, 1, &length, err);

        if (r < 0)
            return r;
        if (++total > HEAD_MAX + BODY_MAX)
            return error_set(err, EPROTO, "the answer to the WebSocket handshake is too long");
        llhttp_errno_t parsed = llhttp_execute(&head->parser, &byte, 1);
        if (parsed == HPE_PAUSED_UPGRADE)
            return 0;
        if (parsed != HPE_OK)
            return error_set(err, EPROTO, "malformed answer to the WebSocket handshake: %s",
                             llhttp_errno_name(parsed));
    }
    return 0;
}

static int handshake(struct ws *ws, struct client *client, const char *path, struct error *err)
{
    struct head head = {0};
    cleanup_free char *body = head.body = malloc(BODY_MAX);

    if (!body)
        return error_oom(err);
    int r = send_request(ws, client, path, err);
    if (r < 0)
        return r;
    llhttp_settings_init(&head.settings);
    head.settings.on_body = on_head_body;
    head.settings.on_message_complete = on_head_end;
    llhttp_init(&head.parser, HTTP_RESPONSE, &head.settings);
    head.parser.data = &head;
    r = read_answer(ws, &head, err);
    if (r < 0)
        return r;
    int status = llhttp_get_status_code(&head.parser);
    if (status >= 400)
        return client_status_error(client, status, body, head.body_length, err);
    if (status != 101)
        return error_set(err, EPROTO, "status %d instead of a WebSocket", status);
    return 0;
}

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *buffer, size_t length, int flags,
                       void *userdata)
{
    struct ws *ws = userdata;
    size_t received = 0;
    CURLcode code = curl_easy_recv(ws->curl, buffer, length, &received);

    (void)flags;
    if (code == CURLE_OK && received > 0)
        return (ssize_t)received;
    if (code != CURLE_AGAIN)
        ws->lost = true;
    wslay_event_set_error(context,
                          code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t length,
                       int flags, void *userdata)
{
    struct ws *ws = userdata;
    size_t sent = 0;
    CURLcode code = curl_easy_send(ws->curl, data, length, &sent);

    (void)flags;
    if (code == CURLE_OK)
        return (ssize_t)sent;
    if (code != CURLE_AGAIN)
        ws->lost = true;
    wslay_event_set_error(context,
                          code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int on_mask(wslay_event_context_ptr context, uint8_t *buffer, size_t length, void *userdata)
{
    (void)context;
    (void)userdata;
    return getrandom(buffer, length, 0) == (ssize_t)length ? 0 : -1;
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *userdata)
{
    struct ws *ws = userdata;

    (void)context;
    if (!wslay_is_ctrl_frame(message->opcode))
        ws->on_message(ws->userdata, message->opcode == WSLAY_BINARY_FRAME, message->msg,
                       message->msg_length);
}

static int start_frames(struct ws *ws, struct error *err)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_msg_recv_callback = on_message,
    };

    if (wslay_event_context_client_init(&ws->frames, &callbacks, ws) != 0)
        return error_oom(err);
    wslay_event_config_set_max_recv_msg_length(ws->frames, MESSAGE_MAX);
    return 0;
}

static int connect_only(struct ws *ws, struct client *client, struct error *err)
{
    ws->curl = curl_easy_init();
    if (!ws->curl)
        return error_oom(err);
    client_prepare(client, ws->curl);
    curl_easy_setopt(ws->curl, CURLOPT_URL, client->base);
    curl_easy_setopt(ws->curl, CURLOPT_CONNECT_ONLY, 1L);
    CURLcode code = curl_easy_perform(ws->curl);
    if (code != CURLE_OK)
        return client_transfer_error(client, code, err);
    if (curl_easy_getinfo(ws->curl, CURLINFO_ACTIVESOCKET, &ws->fd) != CURLE_OK)
        return error_set(err, EIO, "libcurl has no socket for the connection");
    return 0;
}

int ws_open(struct client *client, const char *path, ws_message_fn on_message_fn, void *userdata,
            struct ws **ret_ws, struct error *err)
{
    cleanup_ws struct ws *ws = calloc(1, sizeof(*ws));

    if (!ws)
        return error_oom(err);
    ws->on_message = on_message_fn;
    ws->userdata = userdata;
    int r = connect_only(ws, client, err);
    if (r == 0)
        r = handshake(ws, client, path, err);
    if (r == 0)
        r = start_frames(ws, err);
    if (r < 0)
        return r;
    *ret_ws = TAKE_PTR(ws);
    return 0;
}

int ws_fd(const struct ws *ws)
{
    return ws->fd;
}

bool ws_wants_write(const struct ws *ws)
{
    return wslay_event_want_write(ws->frames);
}

size_t ws_queued(const struct ws *ws)
{
    return wslay_event_get_queued_msg_length(ws->frames);
}

int ws_send(struct ws *ws, bool binary, const void *data, size_t length)
{
    struct wslay_event_msg message = {
        .opcode = binary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME,
        .msg = data,
        .msg_length = length,
    };

    return wslay_event_queue_msg(ws->frames, &message) == 0 ? 0 : -EPIPE;
}

int ws_dispatch(struct ws *ws)
{
    if (wslay_event_recv(ws->frames) != 0 || wslay_event_send(ws->frames) != 0)
        ws->lost = true;
    if (!wslay_event_want_read(ws->frames) && !wslay_event_want_write(ws->frames))
        return 0;
    return ws->lost ? -ECONNRESET : 1;
}
