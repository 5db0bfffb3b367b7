/* Theory of operation: see inits.h. The list is in order of last use. A connection is never closed
 * from inside its own callbacks: it leaves the list at once and is freed by the next turn of the
 * event loop. */
#include "api/inits.h"

#include "api/dev-wait.h"
#include "api/init-events.h"
#include "api/supervisor.h"
#include "api/use.h"
#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

struct init_call {
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    const char *op;
    json_t *params;
    int fd;
    rpc_reply_fn reply;
    void *userdata;
    bool retried;
    struct init_call *next; /* waiting for the connection */
};

struct init_conn {
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    bool connecting, dead;
    bool asleep; /* perhaps: it is to be woken before it is asked */
    bool waking;
    int64_t told_at; /* use.h */
    struct rpc rpc;
    sd_event_source *io;
    struct init_call *waiting, **waiting_end;
    struct init_conn *next;
};

struct inits {
    struct init_conn *conns; /* most recently used first */
    size_t count;
    struct init_conn *dead; /* to be freed by `reap` */
    sd_event_source *reap;
    bool closing;
};

static void submit(struct init_call *call);

static void call_free(struct init_call *call)
{
    json_decref(call->params);
    close_and_forget(&call->fd);
    free(call);
}

static void call_fail(struct init_call *call, const struct error *err)
{
    struct ipc_fds none = {.count = 0};

    call->reply(call->userdata, NULL, &none, err);
    call_free(call);
}

static void fail_waiting(struct init_conn *conn, const struct error *err)
{
    while (conn->waiting) {
        struct init_call *call = conn->waiting;
        conn->waiting = call->next;
        call_fail(call, err);
    }
    conn->waiting_end = &conn->waiting;
}

static void unlink_conn(struct inits *inits, struct init_conn *conn)
{
    for (struct init_conn **link = &inits->conns; *link; link = &(*link)->next)
        if (*link == conn) {
            *link = conn->next;
            inits->count--;
            return;
        }
}

/* Takes it out of use; freed later. */
static void drop(struct init_conn *conn)
{
    struct inits *inits = conn->api->inits;

    if (conn->dead)
        return;
    conn->dead = true;
    conn->io = sd_event_source_disable_unref(conn->io);
    unlink_conn(inits, conn);
    conn->next = inits->dead;
    inits->dead = conn;
    sd_event_source_set_enabled(inits->reap, SD_EVENT_ONESHOT);
}

static void conn_free(struct init_conn *conn)
{
    struct error err = ERROR_NONE;

    sd_event_source_disable_unref(conn->io);
    if (conn->rpc.ipc.fd >= 0)
        rpc_close(&conn->rpc);
    error_set_code(&err, ECONNRESET, "sandbox_unreachable", "the sandbox's init is gone");
    fail_waiting(conn, &err);
    dev_wait_lost(conn->api, conn->sandbox);
    init_events_lost(conn->api, conn->sandbox);
    free(conn);
}

static int on_reap(sd_event_source *source, void *userdata)
{
    struct inits *inits = userdata;

    (void)source;
    while (inits->dead) {
        struct init_conn *conn = inits->dead;
        inits->dead = conn->next;
        conn_free(conn);
    }
    return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct init_conn *conn = userdata;

    (void)source;
    (void)fd;
    (void)events;
    if (rpc_dispatch(&conn->rpc) < 0)
        drop(conn);
    return 0;
}

static void on_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct init_conn *conn = rpc->userdata;

    if (str_equal(name, "service.state"))
        dev_wait_event(conn->api, conn->sandbox, json_object_get(event, "service"));
    init_events_tell(conn->api, conn->sandbox, name, event);
}

static void on_answer(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct init_call *call = userdata;

    call->reply(call->userdata, result, fds, err);
    call_free(call);
}

static void send_call(struct init_conn *conn, struct init_call *call)
{
    struct error err = ERROR_NONE;
    int r = rpc_call(&conn->rpc, call->op, json_copy(call->params), &call->fd, call->fd >= 0,
                     on_answer, call, NULL, &err);

    if (r == 0)
        return;
    if (r == -EPIPE || r == -ECONNRESET) {
        drop(conn);
        if (!call->retried) {
            call->retried = true;
            submit(call);
            return;
        }
    }
    call_fail(call, &err);
}

static void send_waiting(struct init_conn *conn)
{
    struct init_call *first = conn->waiting;

    conn->waiting = NULL;
    conn->waiting_end = &conn->waiting;
    while (first) {
        struct init_call *call = first;
        first = first->next;
        call->next = NULL;
        send_call(conn, call);
    }
}

static void on_connected(void *userdata, json_t *result, struct ipc_fds *fds,
                         const struct error *err)
{
    struct init_conn *conn = userdata;
    struct error own = ERROR_NONE;
    int fd = result ? ipc_fds_take(fds, 0) : -1;

    conn->connecting = false;
    if (result && fd < 0) {
        error_set(&own, EPROTO, "the supervisor sent no connection");
        err = &own;
    }
    if (fd >= 0) {
        rpc_init(&conn->rpc, fd, on_event, conn);
        int r = event_add_ipc(conn->api->event, &conn->rpc.ipc, on_io, conn, &conn->io);
        if (r < 0)
            err = (error_sys(&own, r, "watching an init"), &own);
    }
    if (!conn->io) {
        fail_waiting(conn, err);
        drop(conn);
        return;
    }
    send_waiting(conn);
}

static void on_woken(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err);

struct waking {
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
};

static void wake(struct init_conn *conn)
{
    struct waking *waking = calloc(1, sizeof(*waking));
    struct error err = ERROR_NONE;

    if (!waking) {
        error_oom(&err);
        fail_waiting(conn, &err);
        return;
    }
    conn->waking = true;
    waking->api = conn->api;
    memcpy(waking->sandbox, conn->sandbox, sizeof(waking->sandbox));
    supervisor_call(conn->api->supervisor, "sandbox.wake",
                    json_pack("{s:s}", "sandbox", conn->sandbox), CALL_REPEATABLE, on_woken,
                    waking);
}

static bool idle(const struct init_conn *conn)
{
    return !conn->connecting && !conn->waking && !conn->rpc.calls && !conn->waiting &&
           !dev_wait_any(conn->api, conn->sandbox) && !init_has_listener(conn->api, conn->sandbox);
}

static void make_room(struct inits *inits)
{
    struct init_conn *last_idle = NULL;

    if (inits->count < INITS_MAX)
        return;
    for (struct init_conn *conn = inits->conns; conn; conn = conn->next)
        if (idle(conn))
            last_idle = conn;
    if (last_idle)
        drop(last_idle);
}

static struct init_conn *find(struct inits *inits, const char *sandbox)
{
    for (struct init_conn **link = &inits->conns; *link; link = &(*link)->next)
        if (str_equal((*link)->sandbox, sandbox)) {
            struct init_conn *conn = *link;
            *link = conn->next;
            conn->next = inits->conns;
            inits->conns = conn;
            return conn;
        }
    return NULL;
}

/* The connection may have been lost meanwhile, and be another one now. */
static void on_woken(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    cleanup_free struct waking *waking = userdata;
    struct init_conn *conn = find(waking->api->inits, waking->sandbox);

    (void)fds;
    if (!conn || !conn->waking)
        return;
    conn->waking = false;
    conn->asleep = !result;
    if (result)
        send_waiting(conn);
    else
        fail_waiting(conn, err);
}

void inits_sandbox(struct api *api, const json_t *sandbox)
{
    const char *id = json_string_value(json_object_get(sandbox, "id"));
    const char *state = json_string_value(json_object_get(sandbox, "state"));

    for (struct init_conn *conn = api->inits->conns; id && conn; conn = conn->next) {
        if (!str_equal(conn->sandbox, id))
            continue;
        conn->asleep = str_equal(state, "paused");
        if (conn->asleep && conn->rpc.calls && !conn->waking) /* it was asked just before */
            wake(conn);
        return;
    }
}

void inits_doubt(struct api *api)
{
    for (struct init_conn *conn = api->inits->conns; conn; conn = conn->next)
        conn->asleep = true;
}

static struct init_conn *start_connection(struct api *api, const char *sandbox)
{
    struct init_conn *conn = calloc(1, sizeof(*conn));

    if (!conn)
        return NULL;
    make_room(api->inits);
    conn->api = api;
    conn->rpc.ipc.fd = -1;
    conn->waiting_end = &conn->waiting;
    conn->connecting = true;
    snprintf(conn->sandbox, sizeof(conn->sandbox), "%s", sandbox);
    conn->next = api->inits->conns;
    api->inits->conns = conn;
    api->inits->count++;
    return conn;
}

static void submit(struct init_call *call)
{
    struct api *api = call->api;
    struct init_conn *conn = find(api->inits, call->sandbox);
    bool fresh = !conn && !api->inits->closing;
    struct error err = ERROR_NONE;

    if (fresh)
        conn = start_connection(api, call->sandbox);
    if (!conn) {
        error_oom(&err);
        call_fail(call, &err);
        return;
    }
    use_once(api, conn->sandbox, &conn->told_at);
    if (conn->connecting || conn->asleep) {
        *conn->waiting_end = call;
        conn->waiting_end = &call->next;
    } else {
        send_call(conn, call);
    }
    if (conn->asleep && !conn->connecting && !conn->waking)
        wake(conn);
    if (fresh)
        supervisor_call(api->supervisor, "sandbox.connect",
                        json_pack("{s:s}", "sandbox", conn->sandbox), CALL_REPEATABLE, on_connected,
                        conn);
}

void init_call(struct api *api, const char *sandbox, const char *op, json_t *params, int fd,
               rpc_reply_fn reply, void *userdata)
{
    struct init_call *call = params ? calloc(1, sizeof(*call)) : NULL;
    struct ipc_fds none = {.count = 0};
    struct error err = ERROR_NONE;

    if (!call) {
        json_decref(params);
        close_and_forget(&fd);
        error_oom(&err);
        reply(userdata, NULL, &none, &err);
        return;
    }
    *call = (struct init_call){
        .api = api, .op = op, .params = params, .fd = fd, .reply = reply, .userdata = userdata};
    snprintf(call->sandbox, sizeof(call->sandbox), "%s", sandbox);
    submit(call);
}

static void ignore(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)result;
    (void)fds;
    (void)err;
}

void init_tell(struct api *api, const char *sandbox, const char *op, json_t *params)
{
    init_call(api, sandbox, op, params, -1, ignore, NULL);
}

struct inits *inits_new(struct api *api)
{
    struct inits *inits = calloc(1, sizeof(*inits));

    if (!inits)
        return NULL;
    if (sd_event_add_defer(api->event, &inits->reap, on_reap, inits) < 0 ||
        sd_event_source_set_enabled(inits->reap, SD_EVENT_OFF) < 0) {
        inits_free(inits);
        return NULL;
    }
    return inits;
}

void inits_free(struct inits *inits)
{
    if (!inits)
        return;
    inits->closing = true;
    while (inits->conns)
        drop(inits->conns);
    on_reap(NULL, inits);
    sd_event_source_disable_unref(inits->reap);
    free(inits);
}
