/* Theory of operation: see rpc.h. Calls are few (tens), so a list searched by number is enough. */
#include "base/rpc.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

void rpc_init(struct rpc *rpc, int fd, rpc_event_fn on_event, void *userdata)
{
    *rpc = (struct rpc){.on_event = on_event, .userdata = userdata};
    ipc_init(&rpc->ipc, fd);
}

static void finish(struct rpc_call *call, json_t *result, struct ipc_fds *fds,
                   const struct error *err)
{
    if (call->reply)
        call->reply(call->userdata, result, fds, err);
    ipc_fds_close(fds);
    free(call);
}

void rpc_close(struct rpc *rpc)
{
    struct error err = ERROR_NONE;

    ipc_close(&rpc->ipc);
    error_set(&err, ECONNRESET, "the connection was lost");
    while (rpc->calls) {
        struct ipc_fds none = {.count = 0};
        struct rpc_call *call = rpc->calls;
        rpc->calls = call->next;
        finish(call, NULL, &none, &err);
    }
}

static json_t *make_request(json_int_t id, const char *op, json_t *params)
{
    json_t *request = params ? params : json_object();

    if (!request)
        return NULL;
    if (json_object_set_new(request, "id", json_integer(id)) < 0 ||
        json_object_set_new(request, "op", json_string(op)) < 0) {
        json_decref(request);
        return NULL;
    }
    return request;
}

int rpc_call(struct rpc *rpc, const char *op, json_t *params, const int *fds, size_t n_fds,
             rpc_reply_fn reply, void *userdata, json_int_t *ret_id, struct error *err)
{
    cleanup_json json_t *request = make_request(rpc->last_id + 1, op, params);
    cleanup_free struct rpc_call *call = calloc(1, sizeof(*call));

    if (!request || !call)
        return error_oom(err);
    int r = ipc_send(&rpc->ipc, request, fds, n_fds);
    if (r == -EMSGSIZE)
        return error_set(err, EMSGSIZE, "`%s`: the request is over %u bytes", op, IPC_PACKET_MAX);
    if (r < 0)
        return error_sys(err, r, "asking for `%s`", op);
    *call = (struct rpc_call){rpc->calls, ++rpc->last_id, reply, userdata};
    rpc->calls = TAKE_PTR(call);
    if (ret_id)
        *ret_id = rpc->last_id;
    return 0;
}

void rpc_cancel(struct rpc *rpc, json_int_t id)
{
    for (struct rpc_call *call = rpc->calls; call; call = call->next)
        if (call->id == id)
            call->reply = NULL;
}

static struct rpc_call *take_call(struct rpc *rpc, json_int_t id)
{
    for (struct rpc_call **link = &rpc->calls; *link; link = &(*link)->next)
        if ((*link)->id == id) {
            struct rpc_call *call = *link;
            *link = call->next;
            return call;
        }
    return NULL;
}

static int handle_answer(struct rpc *rpc, json_t *message, struct ipc_fds *fds)
{
    struct error err = ERROR_NONE;
    json_t *id = json_object_get(message, "id");
    json_t *result = json_object_get(message, "ok");
    struct rpc_call *call = json_is_integer(id) ? take_call(rpc, json_integer_value(id)) : NULL;

    if (!call) {
        ipc_fds_close(fds);
        return -EPROTO;
    }
    if (!json_is_object(result)) {
        result = NULL;
        error_from_json(&err, json_object_get(message, "error"));
    }
    finish(call, result, fds, &err);
    return 0;
}

static int handle_message(struct rpc *rpc, json_t *message, struct ipc_fds *fds)
{
    const char *event = json_string_value(json_object_get(message, "event"));

    if (!event)
        return handle_answer(rpc, message, fds);
    ipc_fds_close(fds);
    if (rpc->on_event)
        rpc->on_event(rpc, event, message);
    return 0;
}

int rpc_dispatch(struct rpc *rpc)
{
    int r = ipc_flush(&rpc->ipc);

    for (int i = 0; r >= 0 && i < 32 && rpc->ipc.fd >= 0; i++) {
        cleanup_json json_t *message = NULL;
        struct ipc_fds fds = {.count = 0};
        r = ipc_receive(&rpc->ipc, &message, &fds);
        if (r <= 0)
            return r;
        r = handle_message(rpc, message, &fds);
    }
    return r;
}

struct waiting {
    bool done;
    json_t *result;
    struct error err;
};

static void store_reply(void *userdata, json_t *result, struct ipc_fds *fds,
                        const struct error *err)
{
    struct waiting *waiting = userdata;

    (void)fds;
    waiting->done = true;
    waiting->result = json_incref(result);
    waiting->err = *err;
}

int rpc_call_wait(struct rpc *rpc, const char *op, json_t *params, int timeout_ms,
                  json_t **ret_result, struct error *err)
{
    struct waiting waiting = {0};
    json_int_t id;
    int64_t deadline = now_monotonic_ms() + timeout_ms;
    int r = rpc_call(rpc, op, params, NULL, 0, store_reply, &waiting, &id, err);

    while (r >= 0 && !waiting.done) {
        struct pollfd wait = {.fd = rpc->ipc.fd, .events = POLLIN};
        int64_t left = deadline - now_monotonic_ms();
        if (left <= 0 || poll(&wait, 1, (int)left) == 0) {
            rpc_cancel(rpc, id);
            return error_set(err, ETIMEDOUT, "no answer to `%s` in %d ms", op, timeout_ms);
        }
        r = rpc_dispatch(rpc);
        if (r < 0 && !waiting.done) {
            rpc_cancel(rpc, id);
            return error_sys(err, r, "waiting for the answer to `%s`", op);
        }
    }
    if (r < 0 && !waiting.done)
        return r;
    if (!waiting.result) {
        if (err)
            *err = waiting.err;
        return -waiting.err.err;
    }
    *ret_result = waiting.result;
    return 0;
}
