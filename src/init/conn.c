/* Theory of operation. Every file of the init brings a table of operations; they are joined once
 * and checked by server.c. A connection has no role until its hello. One that cannot be written to
 * any more is shut down, never freed on the spot, since it may be the one being dispatched: the
 * loop then finds it hung up. */
#include "init/conn.h"

#include "init/boot.h"
#include "init/process-io.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/protocol.h"

#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct conn {
    struct watch watch;
    struct server_conn server;
    struct conn *next;
};

static struct {
    struct watch listener;
    struct conn *first;
    unsigned int count;
    struct server_op *ops;
    size_t n_ops;
} conns;

static const char *const role_names[] = {"supervisor", "api", "proxy", NULL};
static const unsigned int roles[] = {ROLE_SUPERVISOR, ROLE_API, ROLE_PROXY};

struct hello_params {
    const char *role;
};

static const struct field hello_fields[] = {
    {"role", FIELD_CHOICE, offsetof(struct hello_params, role), .required = true,
     .choices = role_names},
};

static int op_hello(struct request *request, void *data, struct error *err)
{
    const struct hello_params *params = data;
    size_t i = 0;

    (void)err;
    while (strcmp(role_names[i], params->role) != 0)
        i++;
    request->conn->role = roles[i];
    request_reply(request,
                  json_pack("{s:s, s:I, s:i, s:s}", "sandbox", boot.sandbox, "generation",
                            (json_int_t)boot.generation, "protocol", PROTOCOL_VERSION, "version",
                            PACKAGE_VERSION),
                  NULL, 0);
    return 0;
}

static int op_ping(struct request *request, void *data, struct error *err)
{
    (void)data;
    (void)err;
    request_reply(request, NULL, NULL, 0);
    return 0;
}

struct shutdown_params {
    int64_t grace_ms;
};

static const struct field shutdown_fields[] = {
    {"grace_ms", FIELD_INT, offsetof(struct shutdown_params, grace_ms), .max = 60000,
     .required = true},
};

static int op_shutdown(struct request *request, void *data, struct error *err)
{
    const struct shutdown_params *params = data;

    (void)err;
    request_reply(request, NULL, NULL, 0);
    process_stop_all(params->grace_ms, loop_quit);
    return 0;
}

static const struct server_op core_ops[] = {
    {"hello", ROLE_NONE, STATE_NEW, hello_fields, ELEMENTS(hello_fields), 0, op_hello},
    {"ping", ROLE_SUPERVISOR | ROLE_API | ROLE_PROXY, INIT_ANY, NULL, 0, 0, op_ping},
    {"shutdown", ROLE_SUPERVISOR, INIT_ANY, shutdown_fields, ELEMENTS(shutdown_fields), 0,
     op_shutdown},
};

static int admit(struct request *request, const struct server_op *op, void *params,
                 struct error *err)
{
    (void)request;
    (void)params;
    if (process_stopping() && !(op->states & (INIT_STOPPING | STATE_NEW)))
        return error_set_code(err, ESHUTDOWN, "stopping", "the sandbox is being stopped");
    return 0;
}

static int join_ops(void)
{
    const struct {
        const struct server_op *ops;
        size_t count;
    } tables[] = {{core_ops, ELEMENTS(core_ops)},
                  {process_ops, n_process_ops},
                  {file_ops, n_file_ops},
                  {service_ops, n_service_ops},
                  {watch_ops, n_watch_ops}};
    size_t total = 0;

    for (size_t i = 0; i < ELEMENTS(tables); i++)
        total += tables[i].count;
    conns.ops = calloc(total, sizeof(*conns.ops));
    if (!conns.ops)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTS(tables); i++) {
        memcpy(conns.ops + conns.n_ops, tables[i].ops, tables[i].count * sizeof(*conns.ops));
        conns.n_ops += tables[i].count;
    }
    return 0;
}

static void conn_close(struct conn *conn)
{
    struct conn **place = &conns.first;

    while (*place != conn)
        place = &(*place)->next;
    *place = conn->next;
    conns.count--;
    loop_unwatch(&conn->watch);
    file_conn_closed(&conn->server);
    server_conn_close(&conn->server);
    free(conn);
}

static void on_pending(struct ipc *ipc, bool pending)
{
    struct conn *conn = ipc->userdata;

    if (loop_watch(&conn->watch, pending ? EPOLLOUT : EPOLLIN) < 0)
        shutdown(ipc->fd, SHUT_RDWR);
}

static void on_conn(struct watch *watch, uint32_t events)
{
    struct conn *conn = (struct conn *)watch;

    (void)events;
    if (server_conn_dispatch(&conn->server) < 0)
        conn_close(conn);
}

static void conn_open(int fd)
{
    struct conn *conn = conns.count < CONNS_MAX ? calloc(1, sizeof(*conn)) : NULL;

    if (!conn) {
        close(fd);
        return;
    }
    server_conn_init(&conn->server, fd, ROLE_NONE, conns.ops, conns.n_ops, admit, NULL);
    conn->server.ipc.on_pending = on_pending;
    conn->server.ipc.userdata = conn;
    conn->watch = (struct watch){.fd = fd, .handler = on_conn};
    conn->next = conns.first;
    conns.first = conn;
    conns.count++;
    if (loop_watch(&conn->watch, EPOLLIN) < 0)
        conn_close(conn);
}

static void on_listener(struct watch *watch, uint32_t events)
{
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd >= 0)
        conn_open(fd);
}

int conn_listen(int fd)
{
    int r = join_ops();

    if (r >= 0)
        r = fd_set_cloexec(fd, true);
    if (r >= 0)
        r = fd_set_nonblock(fd, true);
    conns.listener = (struct watch){.fd = fd, .handler = on_listener};
    return r < 0 ? r : loop_watch(&conns.listener, EPOLLIN);
}

void conn_broadcast(unsigned int mask, json_t *event)
{
    for (struct conn *conn = conns.first; event && conn; conn = conn->next)
        if ((conn->server.role & mask) && server_conn_event(&conn->server, json_incref(event)) < 0)
            shutdown(conn->watch.fd, SHUT_RDWR);
    json_decref(event);
}
