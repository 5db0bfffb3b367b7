/* Theory of operation: see control.h. The supervisor may be killed at any moment; its connection is
 * then made anew by a timer, the listening sockets are shown to the new one, and every link asks
 * again. Threads notice none of it, unless they need something that only it can give. */
#include "proxy/control.h"
#include "proxy/access-log.h"

#include "base/cleanup.h"
#include "base/figures.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#define TICK_MS 50

int watch_add(struct watch *watch, int epoll, int fd, enum watch_kind kind)
{
    *watch = (struct watch){.kind = kind, .epoll = epoll, .fd = fd};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void watch_set(struct watch *watch, bool output)
{
    struct epoll_event event = {.events = (watch->muted ? 0 : EPOLLIN) | (output ? EPOLLOUT : 0),
                                .data.ptr = watch};

    epoll_ctl(watch->epoll, EPOLL_CTL_MOD, watch->fd, &event);
}

static void supervisor_lost(struct control *control)
{
    log_warning("the connection to the supervisor was lost");
    epoll_ctl(control->epoll, EPOLL_CTL_DEL, control->supervisor.ipc.fd, NULL);
    control->up = control->connected = false;
    rpc_close(&control->supervisor);
    control->gone_since = now_monotonic_ms();
    control->retry_at = 0;
}

static void on_certificates(void *userdata, json_t *result, struct ipc_fds *fds,
                            const struct error *err)
{
    struct control *control = userdata;
    struct error problem = ERROR_NONE;

    if (!result) {
        if (err->err != ECONNRESET)
            log_warning("asking for the certificates: %s", err->message);
    } else if (certificate_store_update(&control->proxy->tls.store, ipc_fds_take(fds, 0),
                                        &problem) < 0) {
        log_error("reload: %s; the certificates stay as they were", problem.message);
    }
}

static void ask_certificates(struct control *control)
{
    struct error err = ERROR_NONE;

    if (control->proxy->config.proxy_tls_listen[0] &&
        rpc_call(&control->supervisor, "tls.get", NULL, NULL, 0, on_certificates, control, NULL,
                 &err) < 0)
        log_warning("asking for the certificates: %s", err.message);
}

static void on_access_log(void *userdata, json_t *result, struct ipc_fds *fds,
                          const struct error *err)
{
    struct control *control = userdata;
    int fd = result ? ipc_fds_take(fds, 0) : -1;

    if (fd >= 0)
        access_log_switch(control->proxy->log, fd);
    else if (!result && err->err != ECONNRESET)
        log_warning("asking for the access log: %s", err->message);
}

static void ask_access_log(struct control *control)
{
    struct error err = ERROR_NONE;

    if (control->proxy->log && control->connected &&
        rpc_call(&control->supervisor, "log.get", NULL, NULL, 0, on_access_log, control, NULL,
                 &err) < 0)
        log_warning("asking for the access log: %s", err.message);
}

static void on_leave(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (!result && err->err != ECONNRESET)
        log_info("no successor before the end: %s", err->message);
}

static void ask_successor(struct control *control)
{
    if (control->up)
        rpc_call(&control->supervisor, "program.leave", NULL, NULL, 0, on_leave, control, NULL,
                 NULL);
}

static void send_reports(struct control *control);

/* One that is refused is of a sandbox that has just stopped. */
static void on_reported(void *userdata, json_t *result, struct ipc_fds *fds,
                        const struct error *err)
{
    struct control *control = userdata;

    (void)fds;
    control->reports_asked--;
    if (!result && err->err != ECONNRESET)
        log_debug("a browser's report is lost: %s", err->message);
    send_reports(control);
}

static void send_report(struct control *control, const struct report *report)
{
    struct error err = ERROR_NONE;
    json_t *params = json_pack("{s:s, s:i, s:O}", "sandbox", report->sandbox, "port", report->port,
                               "report", report->object);

    if (params && rpc_call(&control->supervisor, "sandbox.report", params, NULL, 0, on_reported,
                           control, NULL, &err) == 0)
        control->reports_asked++;
}

/* What pages have reported waits here while the supervisor is away or busy. */
static void send_reports(struct control *control)
{
    struct report *report;

    while (control->up && control->reports_asked < REPORTS_ASKED_MAX &&
           (report = reports_take(&control->proxy->reports))) {
        send_report(control, report);
        report_free(report);
    }
}

static void on_hello(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct control *control = userdata;

    (void)fds;
    if (!result) {
        if (err->err != ECONNRESET)
            log_warning("the supervisor refused us: %s", err->message);
        return;
    }
    if (control->gone_since > 0) /* another supervisor, which may have read others */
        ask_certificates(control);
    ask_access_log(control); /* it may have been rotated since we were started */
    control->up = true;
    control->gone_since = 0;
    links_ask_all(control);
    send_reports(control);
    if (control->ending)
        ask_successor(control);
}

static void on_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct control *control = rpc->userdata;
    const json_t *object = json_object_get(event, "sandbox");
    const char *id = json_string_value(json_object_get(object, "id"));
    const char *state = json_string_value(json_object_get(object, "state"));

    if (strcmp(name, "tls.changed") == 0)
        ask_certificates(control);
    if (strcmp(name, "log.changed") == 0)
        ask_access_log(control);
    if (strcmp(name, "sandbox.state") != 0 || !id || !state || !sandbox_id_valid(id))
        return;
    /* One that no request came for is of no interest yet. */
    struct sandbox *sandbox = sandbox_find(&control->proxy->routes, id);
    if (sandbox && sandbox->link)
        link_state(sandbox->link, object);
    else if (!sandbox && control->proxy->figures && str_equal(state, "removed"))
        figures_release(figures_find(control->proxy->figures, id));
    sandbox_unref(sandbox);
}

static void supervisor_pending(struct ipc *ipc, bool pending)
{
    struct control *control = ipc->userdata;

    watch_set(&control->supervisor_watch, pending);
}

static json_t *listener_names(const struct proxy *proxy)
{
    json_t *names = json_array();

    for (unsigned int i = 0; names && i < proxy->n_listeners; i++)
        json_array_append_new(names, json_string(proxy->listens_tls[i] ? "proxy-tls" : "proxy"));
    return names;
}

/* Takes over a connection and introduces us. */
static int greet(struct control *control, int fd, bool show_listeners, struct error *err)
{
    const struct proxy *proxy = control->proxy;
    json_t *params = json_pack("{s:i, s:i}", "protocol", PROTOCOL_VERSION, "pid", (int)getpid());

    if (params && show_listeners)
        json_object_set_new(params, "listeners", listener_names(proxy));
    rpc_init(&control->supervisor, fd, on_event, control);
    control->supervisor.ipc.on_pending = supervisor_pending;
    control->supervisor.ipc.userdata = control;
    int r = watch_add(&control->supervisor_watch, control->epoll, fd, WATCH_SUPERVISOR);
    if (r < 0) {
        json_decref(params);
        return error_sys(err, r, "watching the supervisor");
    }
    control->connected = true;
    return rpc_call(&control->supervisor, "hello", params, proxy->listeners,
                    show_listeners ? proxy->n_listeners : 0, on_hello, control, NULL, err);
}

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int control_init(struct control *control, struct proxy *proxy, struct error *err)
{
    *control = (struct control){.proxy = proxy, .supervisor.ipc.fd = -1};
    control->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (control->epoll < 0)
        return error_sys(err, errno, "epoll_create1");
    int fd = open_signals();
    int r = fd < 0 ? fd : watch_add(&control->signal_watch, control->epoll, fd, WATCH_SIGNAL);
    r = r < 0 ? r : watch_add(&control->wake_watch, control->epoll, proxy->routes.wake, WATCH_WAKE);
    if (r < 0)
        return error_sys(err, r, "watching signals");
    int supervisor = passed_fd_take("control");
    if (supervisor < 0)
        return error_sys(err, supervisor, "taking the descriptor `control`");
    return greet(control, supervisor, false, err);
}

static void reconnect(struct control *control)
{
    int64_t now = now_monotonic_ms();
    struct error err = ERROR_NONE;

    if (control->connected || now < control->retry_at)
        return;
    control->retry_at = now + SUPERVISOR_RETRY_MS;
    int fd = ipc_connect(AT_FDCWD, "supervisor.sock", &err); /* base/confine.h */
    if (fd >= 0 && greet(control, fd, true, &err) < 0) {
        if (control->connected)
            epoll_ctl(control->epoll, EPOLL_CTL_DEL, control->supervisor.ipc.fd, NULL);
        control->connected = false;
        rpc_close(&control->supervisor);
    }
}

static void read_asked(struct control *control)
{
    struct sandbox *sandbox;
    eventfd_t ignored;

    eventfd_read(control->wake_watch.fd, &ignored);
    if (access_log_grown(control->proxy->log))
        ask_access_log(control);
    while ((sandbox = routes_asked(&control->proxy->routes))) {
        struct link *link = link_of(control, sandbox);
        if (link)
            link_refresh(link);
        sandbox_unref(sandbox);
    }
    send_reports(control);
}

/* What has begun is finished while the successor serves, sandboxes' news and sockets included. */
static void begin_end(struct control *control)
{
    struct proxy *proxy = control->proxy;
    struct signalfd_siginfo info;

    if (read(control->signal_watch.fd, &info, sizeof(info)) < 0 || control->ending)
        return;
    control->ending = true;
    if (proxy->figures)
        atomic_store(&proxy->figures->leaving, proxy->era);
    atomic_store(&proxy->draining, true);
    for (unsigned int i = 0; i < proxy->n_workers; i++)
        worker_wake(&proxy->workers[i]);
    ask_successor(control);
}

static bool has_ended(const struct control *control)
{
    const struct proxy *proxy = control->proxy;

    return control->ending && atomic_load(&proxy->n_ended) == proxy->n_workers;
}

static void handle(struct control *control, struct watch *watch)
{
    switch (watch->kind) {
    case WATCH_SUPERVISOR:
        if (control->connected && rpc_dispatch(&control->supervisor) < 0)
            supervisor_lost(control);
        break;
    case WATCH_LINK:
        link_event((struct link *)watch);
        break;
    case WATCH_WAKE:
        read_asked(control);
        break;
    case WATCH_SIGNAL:
        begin_end(control);
        break;
    }
}

static bool gone_for_good(const struct control *control)
{
    return control->gone_since > 0 && now_monotonic_ms() - control->gone_since > SUPERVISOR_GONE_MS;
}

int control_run(struct control *control, struct error *err)
{
    struct epoll_event event;

    /* One event a turn: handling it may end what a second one would point to. */
    while (!has_ended(control)) {
        bool ticking = !control->up || control->timed > 0;
        int n = epoll_wait(control->epoll, &event, 1, ticking ? TICK_MS : -1);
        if (n == 1)
            handle(control, event.data.ptr);
        reconnect(control);
        if (control->timed > 0)
            links_tick(control);
        if (control->postponed && control->in_flight == 0)
            links_refresh_all(control);
        if (gone_for_good(control))
            return error_set(err, ENOTCONN, "the supervisor has not come back");
    }
    return 0;
}

void control_free(struct control *control)
{
    if (control->connected)
        rpc_close(&control->supervisor);
    links_free(control);
    close(control->signal_watch.fd);
    close(control->epoll);
}
