/* Theory of operation: see supervisor.h. States: no connection (`retry` ticks), connected and hello
 * sent, ready. Every call is an object that is either in `waiting` or owned by the rpc; losing the
 * connection puts the repeatable ones back in line with their first deadline. */
#include "api/supervisor.h"

#include "api/events/hub.h"
#include "api/inits.h"
#include "api/jwt.h"
#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define RETRY_US      50000
#define GIVE_UP_MS    30000
#define REFRESH_MS    30000
#define LISTENERS_MAX 4u
#define WAITING_MAX   4096u

struct pending {
    struct supervisor *supervisor;
    struct pending *next;
    const char *op;
    json_t *params;
    enum call_kind kind;
    rpc_reply_fn reply;
    void *userdata;
    int64_t deadline_ms;
};

struct supervisor {
    struct api *api;
    struct rpc rpc;
    bool connected, ready, closing, again; /* again: this is not the first connection */
    sd_event_source *io, *retry, *deadline;
    struct pending *waiting;
    size_t n_waiting;
    int64_t lost_ms, refresh_after_ms;
    struct listener_fd listeners[LISTENERS_MAX];
    size_t n_listeners;
};

static void pending_free(struct pending *pending)
{
    json_decref(pending->params);
    free(pending);
}

static void pending_fail(struct pending *pending, const struct error *err)
{
    struct ipc_fds none = {.count = 0};

    pending->reply(pending->userdata, NULL, &none, err);
    pending_free(pending);
}

static void set_away(struct error *err)
{
    error_set_code(err, EAGAIN, "supervisor_unavailable",
                   "the supervisor is not running at the moment; try again");
}

static void arm_deadline(struct supervisor *supervisor)
{
    uint64_t at = supervisor->waiting ? (uint64_t)supervisor->waiting->deadline_ms * 1000 : 0;

    sd_event_source_set_enabled(supervisor->deadline, at ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    if (at)
        sd_event_source_set_time(supervisor->deadline, at);
}

/* In order of deadlines: what is put back had its deadline before what came later. */
static void wait_in_line(struct pending *pending)
{
    struct supervisor *supervisor = pending->supervisor;
    struct pending **link = &supervisor->waiting;
    struct error err = ERROR_NONE;

    if (supervisor->closing || supervisor->n_waiting >= WAITING_MAX) {
        set_away(&err);
        pending_fail(pending, &err);
        return;
    }
    while (*link && (*link)->deadline_ms <= pending->deadline_ms)
        link = &(*link)->next;
    pending->next = *link;
    *link = pending;
    supervisor->n_waiting++;
    arm_deadline(supervisor);
}

static struct pending *take_waiting(struct supervisor *supervisor)
{
    struct pending *first = supervisor->waiting;

    if (first) {
        supervisor->waiting = first->next;
        supervisor->n_waiting--;
        first->next = NULL;
    }
    return first;
}

static void on_answer(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct pending *pending = userdata;
    struct error away = ERROR_NONE;
    bool lost = !result && err->err == ECONNRESET && !pending->supervisor->ready;

    if (lost && pending->kind == CALL_REPEATABLE) {
        pending->deadline_ms = now_monotonic_ms() + CALL_WAIT_MS;
        wait_in_line(pending);
        return;
    }
    if (lost) {
        error_set_code(&away, EAGAIN, "supervisor_lost",
                       "the supervisor ended while it worked on this; look before trying again");
        err = &away;
    }
    pending->reply(pending->userdata, result, fds, err);
    pending_free(pending);
}

static void send_call(struct pending *pending)
{
    struct supervisor *supervisor = pending->supervisor;
    struct error err = ERROR_NONE;
    int r = rpc_call(&supervisor->rpc, pending->op, json_copy(pending->params), NULL, 0, on_answer,
                     pending, NULL, &err);

    if (r == -EPIPE || r == -ECONNRESET || r == -ENOBUFS)
        wait_in_line(pending);
    else if (r < 0)
        pending_fail(pending, &err);
}

static void send_waiting(struct supervisor *supervisor)
{
    struct pending *first = supervisor->waiting;

    supervisor->waiting = NULL;
    supervisor->n_waiting = 0;
    while (first) {
        struct pending *pending = first;
        first = first->next;
        pending->next = NULL;
        send_call(pending);
    }
    arm_deadline(supervisor);
}

void supervisor_call(struct supervisor *supervisor, const char *op, json_t *params,
                     enum call_kind kind, rpc_reply_fn reply, void *userdata)
{
    struct pending *pending = params ? calloc(1, sizeof(*pending)) : NULL;
    struct ipc_fds none = {.count = 0};
    struct error err = ERROR_NONE;

    if (!pending) {
        json_decref(params);
        error_oom(&err);
        reply(userdata, NULL, &none, &err);
        return;
    }
    *pending = (struct pending){.supervisor = supervisor,
                                .op = op,
                                .params = params,
                                .kind = kind,
                                .reply = reply,
                                .userdata = userdata,
                                .deadline_ms = now_monotonic_ms() + CALL_WAIT_MS};
    if (supervisor->ready)
        send_call(pending);
    else
        wait_in_line(pending);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct supervisor *supervisor = userdata;
    struct error err = ERROR_NONE;
    int64_t now = now_monotonic_ms();

    (void)source;
    (void)usec;
    set_away(&err);
    while (supervisor->waiting && supervisor->waiting->deadline_ms <= now)
        pending_fail(take_waiting(supervisor), &err);
    arm_deadline(supervisor);
    return 0;
}

static void lose(struct supervisor *supervisor)
{
    bool was_ready = supervisor->ready;

    supervisor->io = sd_event_source_disable_unref(supervisor->io);
    supervisor->connected = supervisor->ready = false;
    rpc_close(&supervisor->rpc);
    if (supervisor->closing)
        return;
    if (was_ready) {
        log_warning("the supervisor is gone; waiting for the next one");
        supervisor->lost_ms = now_monotonic_ms();
    }
    sd_event_source_set_time_relative(supervisor->retry, RETRY_US);
    sd_event_source_set_enabled(supervisor->retry, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct supervisor *supervisor = userdata;

    (void)source;
    (void)fd;
    (void)events;
    if (rpc_dispatch(&supervisor->rpc) < 0)
        lose(supervisor);
    return 0;
}

static void on_certificates(void *userdata, json_t *result, struct ipc_fds *fds,
                            const struct error *err)
{
    struct supervisor *supervisor = userdata;
    struct error problem = ERROR_NONE;

    if (!result) {
        if (err->err != ECONNRESET)
            log_warning("asking for the certificates: %s", err->message);
    } else if (certificate_store_update(&supervisor->api->tls.store, ipc_fds_take(fds, 0),
                                        &problem) < 0) {
        log_error("reload: %s; the certificates stay as they were", problem.message);
    }
}

static void ask_certificates(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (supervisor->api->config.api_tls_listen[0] &&
        rpc_call(&supervisor->rpc, "tls.get", NULL, NULL, 0, on_certificates, supervisor, NULL,
                 &err) < 0)
        log_warning("asking for the certificates: %s", err.message);
}

static void on_keys(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct supervisor *supervisor = userdata;
    struct error problem = ERROR_NONE;
    cleanup_close int fd = result ? ipc_fds_take(fds, 0) : -1;

    if (!result && err->err != ECONNRESET && err->err != ENOENT)
        log_warning("asking for the keys of [auth] jwks_url: %s", err->message);
    else if (result && jwt_read_keys(supervisor->api->jwt, fd, &problem) < 0)
        log_warning("%s; the keys stay as they were", problem.message);
}

static void ask_keys(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (str_starts(supervisor->api->config.auth_jwks_url, "http") &&
        rpc_call(&supervisor->rpc, "jwks.get", NULL, NULL, 0, on_keys, supervisor, NULL, &err) < 0)
        log_warning("asking for the keys of [auth] jwks_url: %s", err.message);
}

static void on_refresh(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (!result && err->err != ECONNRESET)
        log_warning("asking for newer keys of [auth] jwks_url: %s", err->message);
}

void supervisor_refresh_keys(void *userdata)
{
    struct api *api = userdata;
    struct supervisor *supervisor = api->supervisor;
    int64_t now_ms = now_monotonic_ms();

    if (!supervisor->ready || now_ms < supervisor->refresh_after_ms)
        return;
    supervisor->refresh_after_ms = now_ms + REFRESH_MS;
    rpc_call(&supervisor->rpc, "jwks.refresh", NULL, NULL, 0, on_refresh, NULL, NULL, NULL);
}

static void take_state(struct api *api, json_t *sandbox)
{
    inits_sandbox(api, sandbox);
    event_hub_sandbox(api->events, sandbox);
}

static void on_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct supervisor *supervisor = rpc->userdata;

    if (str_equal(name, "tls.changed"))
        ask_certificates(supervisor);
    else if (str_equal(name, "jwks.changed"))
        ask_keys(supervisor);
    else if (str_equal(name, "sandbox.state"))
        take_state(supervisor->api, json_object_get(event, "sandbox"));
    else if (str_equal(name, "sandbox.report"))
        event_hub_report(supervisor->api->events, event);
}

static void on_leave(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (!result && err->err != ECONNRESET)
        log_debug("no successor before the end: %s", err->message);
}

void supervisor_leave(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (supervisor->ready &&
        rpc_call(&supervisor->rpc, "program.leave", NULL, NULL, 0, on_leave, NULL, NULL, &err) < 0)
        log_debug("no successor before the end: %s", err.message);
}

static void on_hello(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct supervisor *supervisor = userdata;

    (void)fds;
    if (!result) {
        if (err->err != ECONNRESET)
            log_error("the supervisor refused us: %s", err->message);
        return;
    }
    if (supervisor->again) { /* another supervisor, which may have read others */
        ask_certificates(supervisor);
        inits_doubt(supervisor->api);
    }
    ask_keys(supervisor);
    supervisor->ready = true;
    supervisor->lost_ms = 0;
    log_info("connected to the supervisor");
    send_waiting(supervisor);
    if (supervisor->api->stopping)
        supervisor_leave(supervisor);
    else
        event_hub_refresh(supervisor->api->events);
}

static json_t *hello_params(const struct supervisor *supervisor, bool with_listeners)
{
    json_t *params = json_pack("{s:i,s:i}", "protocol", PROTOCOL_VERSION, "pid", (int)getpid());
    json_t *names = with_listeners ? json_array() : NULL;

    for (size_t i = 0; names && i < supervisor->n_listeners; i++)
        json_array_append_new(names, json_string(supervisor->listeners[i].name));
    if (names && json_object_set_new(params, "listeners", names) < 0) {
        json_decref(params);
        return NULL;
    }
    return params;
}

static int use_connection(struct supervisor *supervisor, int fd, bool with_listeners,
                          struct error *err)
{
    int fds[LISTENERS_MAX];
    size_t n = with_listeners ? supervisor->n_listeners : 0;

    for (size_t i = 0; i < n; i++)
        fds[i] = supervisor->listeners[i].fd;
    rpc_init(&supervisor->rpc, fd, on_event, supervisor);
    supervisor->connected = true;
    supervisor->again = with_listeners;
    int r = event_add_ipc(supervisor->api->event, &supervisor->rpc.ipc, on_io, supervisor,
                          &supervisor->io);
    if (r < 0)
        return error_sys(err, r, "watching the supervisor's socket");
    return rpc_call(&supervisor->rpc, "hello", hello_params(supervisor, with_listeners), fds, n,
                    on_hello, supervisor, NULL, err);
}

static int reconnect(struct supervisor *supervisor, struct error *err)
{
    int fd = ipc_connect(AT_FDCWD, "supervisor.sock", err); /* base/confine.h */

    return fd < 0 ? fd : use_connection(supervisor, fd, true, err);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct supervisor *supervisor = userdata;
    struct error err = ERROR_NONE;

    (void)source;
    (void)usec;
    if (supervisor->lost_ms && now_monotonic_ms() - supervisor->lost_ms > GIVE_UP_MS) {
        log_error("the supervisor did not come back in %d s", GIVE_UP_MS / 1000);
        return sd_event_exit(supervisor->api->event, EXIT_FAILURE);
    }
    if (reconnect(supervisor, &err) < 0)
        lose(supervisor);
    return 0;
}

bool supervisor_ready(const struct supervisor *supervisor)
{
    return supervisor->ready;
}

static int add_timers(struct supervisor *supervisor, struct error *err)
{
    sd_event *event = supervisor->api->event;
    int r = sd_event_add_time(event, &supervisor->retry, CLOCK_MONOTONIC, 0, 1000, on_retry,
                              supervisor);

    if (r >= 0)
        r = sd_event_source_set_enabled(supervisor->retry, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(event, &supervisor->deadline, CLOCK_MONOTONIC, 0, 1000, on_deadline,
                              supervisor);
    if (r >= 0)
        r = sd_event_source_set_enabled(supervisor->deadline, SD_EVENT_OFF);
    return r < 0 ? error_sys(err, r, "adding timers") : 0;
}

int supervisor_open(struct api *api, int control, const struct listener_fd *listeners,
                    size_t n_listeners, struct error *err)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));

    if (!supervisor || n_listeners > LISTENERS_MAX) {
        free(supervisor);
        return error_oom(err);
    }
    api->supervisor = supervisor;
    supervisor->api = api;
    supervisor->rpc.ipc.fd = -1;
    supervisor->lost_ms = now_monotonic_ms();
    supervisor->n_listeners = n_listeners;
    memcpy(supervisor->listeners, listeners, n_listeners * sizeof(*listeners));
    int r = add_timers(supervisor, err);
    if (r < 0)
        return r;
    if (control >= 0)
        return use_connection(supervisor, control, false, err);
    lose(supervisor);
    return 0;
}

void supervisor_close(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (!supervisor)
        return;
    supervisor->closing = true;
    lose(supervisor);
    set_away(&err);
    while (supervisor->waiting)
        pending_fail(take_waiting(supervisor), &err);
    sd_event_source_disable_unref(supervisor->retry);
    sd_event_source_disable_unref(supervisor->deadline);
    free(supervisor);
}
