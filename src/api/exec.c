/* POST …/exec. A synchronous one attaches a stream, collects the output in bounded memory and
 * answers when the process has ended; the init keeps the time. A client that goes away takes its
 * process group with it. A background one answers as soon as the process runs. */
#include "api/handlers.h"

#include "api/collect.h"
#include "api/ended.h"
#include "api/exec-request.h"
#include "api/hint.h"
#include "api/inits.h"
#include "api/stream.h"
#include "api/supervisor.h"
#include "api/use.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define OUTPUT_MAX (1u << 20) /* bytes kept of each of stdout and stderr */

struct exec {
    struct http_request *request;
    const struct exec_body *body;
    struct stream *stream;
    struct use *use; /* of the sandbox, while the command runs */
    struct collect out, error;
    json_int_t process_id; /* 0: not known to run yet */
    json_t *process;       /* as it ended */
    json_t *answer;        /* while the reason for a hint is looked up */
    bool stream_ended, aborted, settled;
};

static void exec_free(void *state)
{
    struct exec *exec = state;

    stream_free(exec->stream);
    use_end(exec->use);
    collect_free(&exec->out);
    collect_free(&exec->error);
    json_decref(exec->process);
    json_decref(exec->answer);
    free(exec);
}

static json_t *of_type(const json_t *object, const char *name, json_type type)
{
    json_t *value = json_object_get(object, name);

    return value && json_typeof(value) == type ? json_incref(value) : json_null();
}

static json_t *make_answer(const struct exec *exec)
{
    uint64_t out = collect_omitted(&exec->out), error = collect_omitted(&exec->error);

    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:I,s:I}", "exit_code",
                     of_type(exec->process, "exit_code", JSON_INTEGER), "signal",
                     of_type(exec->process, "signal", JSON_STRING), "cause",
                     of_type(exec->process, "cause", JSON_STRING), "cause_text",
                     of_type(exec->process, "cause_text", JSON_STRING), "cause_detail",
                     of_type(exec->process, "cause_detail", JSON_OBJECT), "limits_hit",
                     of_type(exec->process, "limits_hit", JSON_ARRAY), "stdout",
                     collect_text(&exec->out), "stderr", collect_text(&exec->error), "duration_ms",
                     of_type(exec->process, "duration_ms", JSON_INTEGER), "truncated",
                     out + error > 0, "stdout_omitted", (json_int_t)out, "stderr_omitted",
                     (json_int_t)error);
}

static bool looks_like_network_failure(const json_t *answer)
{
    return !str_equal(json_string_value(json_object_get(answer, "cause")), "timeout") &&
           json_integer_value(json_object_get(answer, "exit_code")) != 0 &&
           (hint_is_network_failure(json_string_value(json_object_get(answer, "stderr"))) ||
            hint_is_network_failure(json_string_value(json_object_get(answer, "stdout"))));
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct exec *exec = userdata;
    json_t *sandbox = json_object_get(result, "sandbox");

    (void)fds;
    (void)err;
    if (egress_mode(json_object_get(sandbox, "egress")) == EGRESS_NONE)
        json_object_set_new(exec->answer, "hint", json_string(HINT_NO_NETWORK));
    http_reply(exec->request, 200, TAKE_PTR(exec->answer));
}

static void reply(struct exec *exec)
{
    struct http_request *request = exec->request;

    exec->answer = make_answer(exec);
    if (exec->answer && looks_like_network_failure(exec->answer))
        supervisor_call(request->api->supervisor, "sandbox.get",
                        json_pack("{s:s}", "sandbox", request->captures[0]), CALL_REPEATABLE,
                        on_sandbox, exec);
    else
        http_reply(request, 200, TAKE_PTR(exec->answer));
}

static void fail(struct exec *exec, int number, const char *code, const char *message)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, number, code, "%s", message);
    http_fail(exec->request, &err);
}

static void kill_group(struct exec *exec)
{
    init_tell(exec->request->api, exec->request->captures[0], "process.signal",
              json_pack("{s:I,s:s,s:b}", "process_id", exec->process_id, "signal", "SIGKILL",
                        "group", 1));
}

static void on_ended(void *userdata, const struct error *err)
{
    struct exec *exec = userdata;

    http_fail(exec->request, err);
}

/* Answers once both the start's answer and the stream's end are there. */
static void settle(struct exec *exec)
{
    bool ready = exec->aborted || exec->process || exec->stream_ended;

    if (exec->process_id == 0 || !ready || exec->settled)
        return;
    exec->settled = true;
    if (exec->aborted) {
        if (!exec->process)
            kill_group(exec);
        fail(exec, ECONNRESET, "aborted", "the request was given up");
    } else if (exec->process) {
        reply(exec);
    } else {
        ended_ask(exec->request->api, exec->request->captures[0], on_ended, exec);
    }
}

static void on_abort(struct http_request *request)
{
    struct exec *exec = request->state;

    exec->aborted = true;
    settle(exec);
}

static void on_control(struct exec *exec, const char *data, size_t length)
{
    cleanup_json json_t *message = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);
    json_t *process = json_object_get(message, "process");

    if (str_equal(json_string_value(json_object_get(message, "type")), "exit") &&
        json_is_object(process) && !exec->process) {
        exec->process = json_incref(process);
        settle(exec);
    }
}

static void on_packet(void *userdata, unsigned int channel, const char *data, size_t length)
{
    struct exec *exec = userdata;
    int r = 0;

    if (channel == STREAM_CONTROL)
        on_control(exec, data, length);
    else if (channel == STREAM_STDOUT)
        r = collect_add(&exec->out, data, length);
    else if (channel == STREAM_STDERR)
        r = collect_add(&exec->error, data, length);
    if (r < 0)
        on_abort(exec->request);
}

static void on_stream_end(void *userdata, int error)
{
    struct exec *exec = userdata;

    (void)error;
    exec->stream_ended = true;
    settle(exec);
}

static const struct stream_handler handler = {.packet = on_packet, .end = on_stream_end};

static void send_stdin(struct exec *exec)
{
    const char *text = exec->body->stdin_text;

    if (!text)
        return;
    if (*text)
        stream_send(exec->stream, STREAM_STDIN, text, strlen(text));
    stream_send(exec->stream, STREAM_STDIN, NULL, 0);
}

static void on_started(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct exec *exec = userdata;

    (void)fds;
    if (!result) {
        http_fail(exec->request, err);
        return;
    }
    exec->process_id = process_id_of(json_object_get(result, "process"));
    if (exec->process_id == 0) {
        fail(exec, EPROTO, "protocol", "the sandbox's init answered without a process");
        return;
    }
    send_stdin(exec);
    settle(exec);
}

static int run_sync(struct http_request *request, const struct exec_body *body, struct error *err)
{
    struct exec *exec = calloc(1, sizeof(*exec));
    int64_t timeout = body->timeout_ms < 0 ? EXEC_TIMEOUT_DEFAULT_MS : body->timeout_ms;
    int peer;

    if (!exec)
        return error_oom(err);
    *exec = (struct exec){.request = request, .body = body};
    collect_init(&exec->out, OUTPUT_MAX);
    collect_init(&exec->error, OUTPUT_MAX);
    request->state = exec;
    request->state_free = exec_free;
    int r = stream_new(request->api, &handler, exec, &exec->stream, &peer, err);
    if (r < 0)
        return r;
    json_t *params = exec_params(body, timeout);
    if (params)
        json_object_update_new(params, json_pack("{s:b,s:b,s:b}", "attach", 1, "discard", 1,
                                                 "stdin", body->stdin_text != NULL));
    http_on_abort(request, on_abort);
    http_watch_hangup(request);
    exec->use = use_begin(request->api, request->captures[0]);
    init_call(request->api, request->captures[0], "process.start", params, peer, on_started, exec);
    return 0;
}

static void on_background(void *userdata, json_t *result, struct ipc_fds *fds,
                          const struct error *err)
{
    struct http_request *request = userdata;
    json_t *process = json_object_get(result, "process");

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply(
            request, 200,
            json_pack("{s:I,s:O}", "process_id", process_id_of(process), "process", process));
}

HANDLER(exec_run)
{
    struct exec_body *params = body;

    (void)query;
    if (!json_object_get(request->body_json, "timeout_ms"))
        params->timeout_ms = -1;
    int r = exec_check(params, err);
    if (r < 0)
        return r;
    if (!params->background)
        return run_sync(request, params, err);
    init_call(request->api, request->captures[0], "process.start",
              exec_params(params, params->timeout_ms < 0 ? 0 : params->timeout_ms), -1,
              on_background, request);
    return 0;
}
