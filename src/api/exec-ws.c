/* WS …/exec. The first frame says what to run (or ?process_id= attaches to a process that runs);
 * then frames and the process's stream are the same packets, forwarded both ways. Each side is read
 * only while the other keeps up. It ends with the init's exit message and a close.
 *
 * The object is referenced by the request, by a start that has not been answered yet and by the
 * question why the sandbox ended. */
#include "api/handlers.h"

#include "api/ended.h"
#include "api/exec-request.h"
#include "api/exec-schema.h"
#include "api/inits.h"
#include "api/status.h"
#include "api/stream.h"
#include "api/use.h"
#include "api/ws.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <wslay/wslay.h>

#define QUEUE_HIGH (256u << 10) /* bytes that may wait for the slower side */

struct session {
    unsigned int references;
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    struct ws *ws;
    struct stream *stream;
    struct use *use;
    json_int_t process_id; /* 0: not known to run */
    json_int_t attach_to;  /* 0: start a new one */
    int64_t since;
    bool asked, tty, detach, exited, gone;
};

static void release(struct session *session)
{
    if (--session->references > 0)
        return;
    stream_free(session->stream);
    use_end(session->use);
    free(session);
}

static void free_request_state(void *state)
{
    struct session *session = state;

    ws_free(TAKE_PTR(session->ws));
    release(session);
}

static void send_error(struct session *session, const struct error *err)
{
    cleanup_json json_t *body = status_error_body(err);
    unsigned int status = status_of_error(err);
    char text[2048];

    if (body)
        json_object_set_new(body, "type", json_string("error"));
    size_t length = body ? json_dumpb(body, text, sizeof(text), JSON_COMPACT) : 0;
    if (length > 0 && length <= sizeof(text))
        ws_send(session->ws, STREAM_CONTROL, text, length);
    ws_close(session->ws,
             status >= 500 ? WSLAY_CODE_INTERNAL_SERVER_ERROR : WSLAY_CODE_POLICY_VIOLATION);
}

static void kill_process(struct session *session)
{
    if (session->process_id == 0 || session->exited || session->detach || session->api->stopping)
        return;
    init_tell(session->api, session->sandbox, "process.signal",
              json_pack("{s:I,s:s,s:b}", "process_id", session->process_id, "signal",
                        session->tty ? "SIGHUP" : "SIGKILL", "group", 1));
}

static bool is_exit(const char *data, size_t length)
{
    cleanup_json json_t *message = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);

    return str_equal(json_string_value(json_object_get(message, "type")), "exit");
}

static void on_packet(void *userdata, unsigned int channel, const char *data, size_t length)
{
    struct session *session = userdata;

    if (channel == STREAM_CONTROL && is_exit(data, length))
        session->exited = true;
    if (ws_send(session->ws, (unsigned char)channel, data, length) == -ENOMEM)
        ws_close(session->ws, WSLAY_CODE_INTERNAL_SERVER_ERROR);
    if (ws_queued(session->ws) > QUEUE_HIGH)
        stream_pause(session->stream, true);
}

static void on_ended(void *userdata, const struct error *err)
{
    struct session *session = userdata;

    if (!session->gone)
        send_error(session, err);
    release(session);
}

static void on_stream_end(void *userdata, int error)
{
    struct session *session = userdata;

    (void)error;
    /* A start that failed is told by its answer. */
    if (session->process_id == 0)
        return;
    if (session->exited || session->attach_to) {
        ws_close(session->ws, WSLAY_CODE_NORMAL_CLOSURE);
        return;
    }
    session->references++;
    ended_ask(session->api, session->sandbox, on_ended, session);
}

static void on_stream_drained(void *userdata)
{
    struct session *session = userdata;

    ws_pause(session->ws, false);
}

static const struct stream_handler stream_handler = {
    .packet = on_packet, .end = on_stream_end, .drained = on_stream_drained};

static void on_running(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct session *session = userdata;
    struct error malformed = ERROR_NONE;
    json_int_t id = process_id_of(json_object_get(result, "process"));

    (void)fds;
    if (result && id == 0) {
        error_set(&malformed, EPROTO, "the sandbox's init answered without a process");
        err = &malformed;
    }
    session->process_id = id;
    if (session->gone)
        kill_process(session);
    else if (id == 0)
        send_error(session, err);
    else if (session->exited)
        ws_close(session->ws, WSLAY_CODE_NORMAL_CLOSURE);
    else
        ws_pause(session->ws, false);
    release(session);
}

static void ask(struct session *session, const char *op, json_t *params)
{
    struct error err = ERROR_NONE;
    int peer;
    int r = stream_new(session->api, &stream_handler, session, &session->stream, &peer, &err);

    if (r < 0) {
        json_decref(params);
        send_error(session, &err);
        return;
    }
    session->asked = true;
    session->use = use_begin(session->api, session->sandbox);
    session->references++;
    ws_pause(session->ws, true); /* input has nowhere to go yet */
    init_call(session->api, session->sandbox, op, params, peer, on_running, session);
}

static void attach(struct session *session)
{
    ask(session, "process.attach",
        json_pack("{s:I,s:I,s:b,s:b}", "process_id", session->attach_to, "since",
                  (json_int_t)session->since, "follow", 1, "stdin", 1));
}

static int decode_first(struct session *session, const json_t *message, struct error *err)
{
    struct exec_body body = {.timeout_ms = 0};
    int r =
        fields_decode(message, exec_socket_fields, ELEMENTS(exec_socket_fields), "", &body, err);

    if (r == 0)
        r = exec_check(&body, err);
    if (r < 0)
        return r;
    json_t *params = exec_params(&body, body.timeout_ms);
    if (params)
        json_object_update_new(params,
                               json_pack("{s:b,s:b,s:b}", "attach", 1, "discard", !session->detach,
                                         "stdin", body.feed_stdin || body.tty));
    session->tty = body.tty;
    ask(session, "process.start", params);
    return 0;
}

static void on_first(struct session *session, const char *data, size_t length)
{
    struct error err = ERROR_NONE;
    json_error_t where;
    cleanup_json json_t *message = json_loadb(data, length, JSON_REJECT_DUPLICATES, &where);
    int r = message ? decode_first(session, message, &err)
                    : error_set_code(&err, EINVAL, "malformed_json", "line %d, column %d: not JSON",
                                     where.line, where.column);

    if (r < 0)
        send_error(session, &err);
}

static void on_message(void *userdata, bool binary, const char *data, size_t length)
{
    struct session *session = userdata;

    if (!session->asked) {
        on_first(session, data, length);
        return;
    }
    if (!binary || length == 0 || (data[0] != STREAM_STDIN && data[0] != STREAM_CONTROL) ||
        (data[0] == STREAM_CONTROL && length > STREAM_CHUNK_MAX)) {
        ws_close(session->ws, WSLAY_CODE_UNSUPPORTED_DATA);
        return;
    }
    stream_send(session->stream, (enum stream_channel)data[0], data + 1, length - 1);
    if (stream_queued(session->stream) > 0)
        ws_pause(session->ws, true);
}

static void on_opened(void *userdata)
{
    struct session *session = userdata;

    if (session->attach_to)
        attach(session);
}

static void on_writable(void *userdata)
{
    struct session *session = userdata;

    if (session->stream && ws_queued(session->ws) < QUEUE_HIGH)
        stream_pause(session->stream, false);
}

static void on_closed(void *userdata)
{
    struct session *session = userdata;

    session->gone = true;
    stream_free(TAKE_PTR(session->stream));
    use_end(TAKE_PTR(session->use));
    kill_process(session);
}

static const struct ws_handler ws_handler = {
    .opened = on_opened, .message = on_message, .writable = on_writable, .closed = on_closed};

static void on_abort(struct http_request *request)
{
    struct session *session = request->state;

    ws_abort(session->ws, WSLAY_CODE_GOING_AWAY);
}

static int open_session(struct http_request *request, struct error *err)
{
    const struct exec_socket_query *query = (const void *)request->query_data.bytes;
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        return error_oom(err);
    *session = (struct session){.references = 1,
                                .api = request->api,
                                .attach_to = query->process_id,
                                .since = query->since,
                                .detach = query->detach || query->process_id};
    memcpy(session->sandbox, request->captures[0], sizeof(session->sandbox));
    int r = ws_accept(request, &ws_handler, session, &session->ws, err);
    if (r < 0) {
        free(session);
        return r;
    }
    request->state = session;
    request->state_free = free_request_state;
    http_on_abort(request, on_abort);
    return 0;
}

static void on_reached(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    struct error own = ERROR_NONE;

    (void)fds;
    if (result && open_session(request, &own) < 0)
        err = &own;
    else if (result)
        return;
    http_fail(request, err);
}

/* The sandbox is reached before the upgrade: what is wrong with it can then be said in HTTP. */
HANDLER(exec_socket)
{
    (void)query;
    (void)body;
    (void)err;
    init_call(request->api, request->captures[0], "ping", json_object(), -1, on_reached, request);
    return 0;
}
