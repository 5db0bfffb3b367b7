/* Theory of operation: see server.h. A request lives on the heap from receipt to answer, linked to
 * its connection so that closing one orphans the other instead of leaving a dangling pointer. */
#include "base/server.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void server_conn_init(struct server_conn *conn, int fd, unsigned int role,
                      const struct server_op *ops, size_t n_ops, server_admit_fn admit,
                      void *userdata)
{
    *conn = (struct server_conn){
        .role = role, .ops = ops, .n_ops = n_ops, .admit = admit, .userdata = userdata};
    ipc_init(&conn->ipc, fd);
    conn->ipc.answers_first = true;
}

static void unlink_request(struct request *request)
{
    if (!request->conn)
        return;
    if (request->previous)
        request->previous->next = request->next;
    else
        request->conn->requests = request->next;
    if (request->next)
        request->next->previous = request->previous;
    request->conn->n_requests--;
    request->conn = NULL;
}

static void link_request(struct server_conn *conn, struct request *request)
{
    request->conn = conn;
    request->next = conn->requests;
    if (request->next)
        request->next->previous = request;
    conn->requests = request;
    conn->n_requests++;
}

static void request_free(struct request *request)
{
    unlink_request(request);
    ipc_fds_close(&request->fds);
    json_decref(request->body);
    free(request);
}

/* Never freed on the spot, since it may be the one being dispatched: the loop finds it hung up. */
static int send_or_give_up(struct server_conn *conn, const json_t *message, const int *fds,
                           size_t n_fds)
{
    int r = ipc_send(&conn->ipc, message, fds, n_fds);

    if (r == -ENOBUFS)
        shutdown(conn->ipc.fd, SHUT_RDWR);
    return r;
}

static int send_answer(struct request *request, const char *key, json_t *value, const int *fds,
                       size_t n_fds)
{
    cleanup_json json_t *answer = json_pack("{s:I, s:o}", "id", request->id, key, value);

    if (!answer)
        return -ENOMEM;
    return send_or_give_up(request->conn, answer, fds, n_fds);
}

static void fail_only(struct request *request, const struct error *err)
{
    json_t *value = error_to_json(err);

    if (value && request->conn)
        send_answer(request, "error", value, NULL, 0);
    else
        json_decref(value);
}

void request_fail(struct request *request, const struct error *err)
{
    fail_only(request, err);
    request_free(request);
}

void request_reply(struct request *request, json_t *result, const int *fds, size_t n_fds)
{
    struct error err = ERROR_NONE;

    if (!request->conn) {
        json_decref(result);
    } else {
        int r = send_answer(request, "ok", result ? result : json_object(), fds, n_fds);
        if (r < 0) {
            error_sys(&err, r, "sending the answer");
            fail_only(request, &err);
        }
    }
    request_free(request);
}

int server_conn_event(struct server_conn *conn, json_t *event)
{
    int r = event ? send_or_give_up(conn, event, NULL, 0) : -ENOMEM;

    json_decref(event);
    return r;
}

static const struct server_op *find_op(const struct server_conn *conn, const char *name)
{
    for (size_t i = 0; i < conn->n_ops; i++)
        if (strcmp(conn->ops[i].name, name) == 0)
            return &conn->ops[i];
    return NULL;
}

/* The fields of the operation itself, apart from "id" and "op". */
static int decode_params(struct request *request, const struct server_op *op, void *params,
                         struct error *err)
{
    cleanup_json json_t *fields = json_copy(request->body);

    if (!fields)
        return error_oom(err);
    json_object_del(fields, "id");
    json_object_del(fields, "op");
    return fields_decode(fields, op->fields, op->n_fields, "", params, err);
}

static int check_connection(const struct request *request, const struct server_op *op,
                            struct error *err)
{
    bool greeted = request->conn->greeted;

    if (!(op->roles & request->conn->role))
        return error_set_code(err, EPERM, "refused", "this connection may not ask for `%s`",
                              op->name);
    if (!greeted && !(op->states & STATE_NEW))
        return error_set_code(err, EPERM, "wrong_state", "`%s` comes after `hello`", op->name);
    if (greeted && !(op->states & ~STATE_NEW))
        return error_set_code(err, EPERM, "wrong_state", "`%s` was said already", op->name);
    if (request->fds.count > op->max_fds)
        return error_set(err, EINVAL, "`%s` takes at most %zu descriptors", op->name, op->max_fds);
    if (request->conn->n_requests > SERVER_OUTSTANDING_MAX)
        return error_set_code(err, EAGAIN, "too_many_requests",
                              "%u requests of this connection are not answered yet",
                              SERVER_OUTSTANDING_MAX);
    return 0;
}

static int run_request(struct request *request, const char *name, struct error *err)
{
    _Alignas(max_align_t) char params[SERVER_PARAMS_MAX] = {0};
    struct server_conn *conn = request->conn;
    const struct server_op *op = find_op(conn, name);

    if (!op)
        return error_set_code(err, EOPNOTSUPP, "unknown_operation", "unknown operation `%.64s`",
                              name);
    int r = check_connection(request, op, err);
    if (r == 0)
        r = decode_params(request, op, params, err);
    if (r == 0 && conn->admit)
        r = conn->admit(request, op, params, err);
    if (r == 0)
        r = op->handler(request, params, err);
    conn->greeted = conn->greeted || (r == 0 && (op->states & STATE_NEW));
    return r;
}

static bool is_outstanding(const struct server_conn *conn, json_int_t id)
{
    for (const struct request *request = conn->requests; request; request = request->next)
        if (request->id == id)
            return true;
    return false;
}

static int handle_packet(struct server_conn *conn, json_t *message, struct ipc_fds *fds)
{
    struct error err = ERROR_NONE;
    json_t *id = json_object_get(message, "id");
    const char *op = json_string_value(json_object_get(message, "op"));
    bool sound = json_is_integer(id) && op && !is_outstanding(conn, json_integer_value(id));
    struct request *request = sound ? calloc(1, sizeof(*request)) : NULL;

    if (!request) {
        json_decref(message);
        ipc_fds_close(fds);
        return -EPROTO;
    }
    request->id = json_integer_value(id);
    request->body = message;
    request->fds = *fds;
    link_request(conn, request);
    if (run_request(request, op, &err) < 0)
        request_fail(request, &err);
    return 0;
}

int server_conn_dispatch(struct server_conn *conn)
{
    int r = ipc_flush(&conn->ipc);

    for (int i = 0; r >= 0 && i < 32 && !ipc_pending(&conn->ipc); i++) {
        json_t *message;
        struct ipc_fds fds = {.count = 0};
        r = ipc_receive(&conn->ipc, &message, &fds);
        if (r <= 0)
            return r;
        r = handle_packet(conn, message, &fds);
    }
    return r;
}

void server_conn_close(struct server_conn *conn)
{
    while (conn->requests)
        unlink_request(conn->requests);
    ipc_close(&conn->ipc);
}
