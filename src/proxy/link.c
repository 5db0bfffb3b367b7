/* Theory of operation: a link follows one sandbox: ask the supervisor for its state, have it
 * connect us to the sandbox's init, learn the service and the ports from there, keep the stock of
 * sockets filled, publish every change to the threads. Each step is started by link_refresh when
 * its conditions hold, so a lost connection on either side needs no special path back. What the
 * init says is taken with care: types checked, texts clipped, its talk limited by the second. */
#include "proxy/control.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/detail.h"
#include "proxy/stock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define IN_FLIGHT_MAX  128u
#define RETRY_MAX_MS   2000
#define RETRY_FIRST_MS 50

struct link {
    struct watch watch; /* first */
    struct control *control;
    struct sandbox *sandbox;
    struct link *next, *previous;
    struct rpc rpc;                           /* to the init */
    bool linked;                              /* rpc is open */
    bool broken;                              /* to be closed once no callback of it runs */
    bool heard;                               /* its service is known */
    bool asking, connecting, filling, waking; /* calls under way */
    bool ask_again;
    bool forgotten;
    bool timed;
    unsigned int calls;    /* callbacks that will still come */
    unsigned int messages; /* of the init in this second */
    uint32_t generation;
    int64_t retry_at, retry_delay; /* ms */
    int64_t second;                /* of `messages` */
    int64_t unknown_until;
};

static void publish(struct link *link)
{
    struct proxy *proxy = link->control->proxy;

    for (unsigned int i = 0; i < proxy->n_workers; i++)
        worker_tell(&proxy->workers[i], link->sandbox);
}

static void set_state(struct link *link, enum route_state state)
{
    struct view view = sandbox_view(link->sandbox);

    if (view.state == state)
        return;
    view.state = state;
    sandbox_set_view(link->sandbox, &view);
    publish(link);
}

static void set_timed(struct link *link, bool timed)
{
    if (timed != link->timed)
        link->control->timed += timed ? 1 : -1u;
    link->timed = timed;
}

static void retry_later(struct link *link)
{
    link->retry_delay = link->retry_delay == 0                 ? RETRY_FIRST_MS
                        : link->retry_delay * 2 > RETRY_MAX_MS ? RETRY_MAX_MS
                                                               : link->retry_delay * 2;
    link->retry_at = now_monotonic_ms() + link->retry_delay;
    set_timed(link, true);
}

static void free_if_unused(struct link *link)
{
    if (!link->forgotten || link->calls > 0)
        return;
    sandbox_unref(link->sandbox);
    free(link);
}

/* Closes the connection to the init; nothing that belongs to that generation is used any more. */
static void unlink_init(struct link *link)
{
    if (!link->linked)
        return;
    link->linked = link->broken = link->heard = false;
    epoll_ctl(link->control->epoll, EPOLL_CTL_DEL, link->rpc.ipc.fd, NULL);
    rpc_close(&link->rpc);
    stock_clear(link->sandbox, 0);
}

static void forget(struct link *link)
{
    struct control *control = link->control;

    unlink_init(link);
    set_timed(link, false);
    if (link->unknown_until > 0)
        control->n_unknown--;
    if (link->previous)
        link->previous->next = link->next;
    else
        control->links = link->next;
    if (link->next)
        link->next->previous = link->previous;
    link->sandbox->link = NULL;
    sandbox_forget(&control->proxy->routes, link->sandbox);
    link->forgotten = true;
    free_if_unused(link);
}

static void set_unknown(struct link *link)
{
    unlink_init(link);
    set_state(link, ROUTE_UNKNOWN);
    if (link->unknown_until == 0)
        link->control->n_unknown++;
    /* Remembered for a moment, so that guessing at ids does not reach the supervisor each time. */
    link->unknown_until =
        now_monotonic_ms() + (link->control->n_unknown > UNKNOWN_KEPT_MAX ? 0 : UNKNOWN_KEPT_MS);
    set_timed(link, true);
}

static void set_known(struct link *link)
{
    if (link->unknown_until > 0)
        link->control->n_unknown--;
    link->unknown_until = 0;
}

struct link *link_of(struct control *control, struct sandbox *sandbox)
{
    if (sandbox->link)
        return sandbox->link;
    struct link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    link->control = control;
    link->sandbox = sandbox_ref(sandbox);
    link->next = control->links;
    if (control->links)
        control->links->previous = link;
    control->links = link;
    sandbox->link = link;
    return link;
}

static int call_supervisor(struct link *link, const char *op, json_t *params, rpc_reply_fn reply)
{
    struct control *control = link->control;

    if (!params || json_object_set_new(params, "sandbox", json_string(link->sandbox->id)) < 0) {
        json_decref(params);
        return -ENOMEM;
    }
    int r = rpc_call(&control->supervisor, op, params, NULL, 0, reply, link, NULL, NULL);
    if (r < 0)
        return r;
    link->calls++;
    control->in_flight++;
    return 0;
}

/* Every callback of a call to the supervisor begins so. False: the link is no more. */
static bool answered(struct link *link)
{
    link->calls--;
    link->control->in_flight--;
    if (!link->forgotten)
        return true;
    free_if_unused(link);
    return false;
}

static void on_state(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct link *link = userdata;
    const json_t *object = json_object_get(result, "sandbox");

    (void)fds;
    if (!answered(link))
        return;
    link->asking = false;
    if (json_is_string(json_object_get(object, "state")))
        link_state(link, object);
    else if (err->err == ENOENT)
        set_unknown(link);
    else if (err->err != ECONNRESET)
        retry_later(link);
}

static enum service_state service_state(const json_t *service)
{
    static const char *const names[] = {[SERVICE_STOPPED] = "stopped",
                                        [SERVICE_STARTING] = "starting",
                                        [SERVICE_READY] = "ready",
                                        [SERVICE_CRASHED] = "crashed"};
    const char *name = json_string_value(json_object_get(service, "state"));

    for (size_t i = 0; i < ELEMENTS(names); i++)
        if (str_equal(name, names[i]))
            return (enum service_state)i;
    return SERVICE_STOPPED;
}

static uint16_t json_port(const json_t *value)
{
    json_int_t port = json_integer_value(value);

    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

static bool rests(enum route_state state)
{
    return state == ROUTE_ASLEEP || state == ROUTE_PAUSED;
}

static void take_service(struct link *link, const json_t *service)
{
    struct sandbox *sandbox = link->sandbox;
    enum route_state state = sandbox_view(sandbox).state;
    const char *address = json_string_value(json_object_get(service, "address"));
    struct view view = {.state = rests(state) ? state : ROUTE_RUNNING,
                        .service = service_state(service),
                        .auto_restart = json_is_true(json_object_get(service, "auto_restart")),
                        .inet6 = str_equal(address, "::1"),
                        .path_form = json_is_true(json_object_get(service, "path_form")),
                        .port = json_port(json_object_get(service, "port")),
                        .generation = link->generation};

    link->heard = true;
    if (view.service == SERVICE_READY && view.port == 0)
        view.service = SERVICE_STARTING;
    pthread_mutex_lock(&sandbox->lock);
    detail_text(sandbox->detail.cause, sizeof(sandbox->detail.cause),
                json_object_get(service, "cause_text"));
    detail_lines(&sandbox->detail, json_object_get(service, "last_lines"));
    pthread_mutex_unlock(&sandbox->lock);
    sandbox_set_view(sandbox, &view);
    publish(link);
}

static void take_ports(struct link *link, const json_t *ports)
{
    struct detail *detail = &link->sandbox->detail;
    size_t i;
    json_t *item;

    pthread_mutex_lock(&link->sandbox->lock);
    detail->n_ports = 0;
    json_array_foreach(ports, i, item)
    {
        uint16_t port = json_port(json_object_get(item, "port"));
        if (port > 0 && detail->n_ports < PORTS_KEPT_MAX)
            detail->ports[detail->n_ports++] = port;
    }
    pthread_mutex_unlock(&link->sandbox->lock);
    publish(link);
}

static void on_service(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct link *link = userdata;
    json_t *service = json_object_get(result, "service");

    (void)fds;
    (void)err;
    link->calls--;
    if (!link->linked)
        return;
    if (!json_is_object(service)) {
        link->broken = true;
        return;
    }
    link->retry_delay = 0;
    take_service(link, service);
    link_refresh(link);
}

static void on_ports(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct link *link = userdata;

    (void)fds;
    (void)err;
    link->calls--;
    if (link->linked && result)
        take_ports(link, json_object_get(result, "ports"));
}

/* An init that talks without end is not listened to for the rest of the second. */
static void count_message(struct link *link)
{
    int64_t second = now_monotonic_ms() / 1000;

    if (second != link->second)
        link->messages = 0;
    link->second = second;
    if (++link->messages < INIT_MESSAGES_PER_SECOND || link->watch.muted)
        return;
    link->watch.muted = true;
    watch_set(&link->watch, ipc_pending(&link->rpc.ipc));
    set_timed(link, true);
}

static void on_init_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct link *link = rpc->userdata;
    json_t *service = json_object_get(event, "service");

    count_message(link);
    if (strcmp(name, "service.state") == 0 && json_is_object(service))
        take_service(link, service);
    else if (strcmp(name, "ports") == 0)
        take_ports(link, json_object_get(event, "ports"));
}

static void init_pending(struct ipc *ipc, bool pending)
{
    struct link *link = ipc->userdata;

    watch_set(&link->watch, pending);
}

static int open_link(struct link *link, int fd)
{
    rpc_init(&link->rpc, fd, on_init_event, link);
    link->rpc.ipc.on_pending = init_pending;
    link->rpc.ipc.userdata = link;
    link->linked = true;
    link->broken = false;
    int r = watch_add(&link->watch, link->control->epoll, fd, WATCH_LINK);
    if (r == 0)
        r = rpc_call(&link->rpc, "ports.list", NULL, NULL, 0, on_ports, link, NULL, NULL);
    if (r < 0)
        return r;
    link->calls++;
    r = rpc_call(&link->rpc, "service.get", NULL, NULL, 0, on_service, link, NULL, NULL);
    if (r == 0)
        link->calls++;
    return r;
}

static void on_connection(void *userdata, json_t *result, struct ipc_fds *fds,
                          const struct error *err)
{
    struct link *link = userdata;
    cleanup_close int fd = ipc_fds_take(fds, 0);

    if (!answered(link))
        return;
    link->connecting = false;
    if (err->err == ECONNRESET || sandbox_view(link->sandbox).state != ROUTE_LINKING)
        return;
    if (!result || fd < 0) {
        set_state(link, ROUTE_ASKING);
        retry_later(link);
        return;
    }
    link->generation = (uint32_t)json_integer_value(json_object_get(result, "generation"));
    stock_clear(link->sandbox, link->generation);
    if (open_link(link, TAKE_FD(fd)) < 0) {
        unlink_init(link);
        retry_later(link);
    }
}

static void on_sockets(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct link *link = userdata;

    if (!answered(link))
        return;
    link->filling = false;
    if (!result) {
        if (err->err != ECONNRESET)
            retry_later(link);
        return;
    }
    for (size_t i = 0; i < fds->count; i++) {
        int family = AF_UNSPEC;
        socklen_t length = sizeof(family);
        int fd = ipc_fds_take(fds, i);
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0)
            close(fd);
        else
            stock_add(link->sandbox, family == AF_INET6, link->generation, fd);
    }
    publish(link);
    link_refresh(link);
}

static void ask_state(struct link *link)
{
    link->ask_again = false;
    link->asking = call_supervisor(link, "sandbox.get", json_object(), on_state) == 0;
}

static void fill_stock(struct link *link)
{
    unsigned int inet, inet6;

    stock_missing(link->sandbox, &inet, &inet6);
    if (inet + inet6 == 0)
        return;
    json_t *params = json_pack("{s:i, s:i}", "inet", (int)inet, "inet6", (int)inet6);
    link->filling = call_supervisor(link, "sandbox.sockets", params, on_sockets) == 0;
}

static void on_woken(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct link *link = userdata;
    const json_t *object = json_object_get(result, "sandbox");

    (void)fds;
    if (!answered(link))
        return;
    link->waking = false;
    if (json_is_string(json_object_get(object, "state"))) {
        link_state(link, object);
    } else if (err->err == ENOENT) {
        set_unknown(link);
    } else if (err->err != ECONNRESET) { /* it is in another state now */
        link->ask_again = true;
        retry_later(link);
    } else { /* the next supervisor is asked */
        atomic_store(&link->sandbox->wanted, true);
    }
}

/* Whoever wanted it meanwhile is served by the same call. */
static void wake(struct link *link)
{
    atomic_store(&link->sandbox->wanted, false);
    link->waking = call_supervisor(link, "sandbox.wake", json_object(), on_woken) == 0;
    if (!link->waking)
        atomic_store(&link->sandbox->wanted, true);
}

void link_refresh(struct link *link)
{
    struct control *control = link->control;
    enum route_state state = sandbox_view(link->sandbox).state;

    if (!control->up || link->forgotten)
        return;
    bool must_wake = state == ROUTE_ASLEEP && !link->waking && atomic_load(&link->sandbox->wanted);
    if (now_monotonic_ms() < link->retry_at && !must_wake)
        return;
    if (control->in_flight >= IN_FLIGHT_MAX) {
        control->postponed = true;
        return;
    }
    if ((state == ROUTE_ASKING || link->ask_again) && !link->asking)
        ask_state(link);
    if (state == ROUTE_LINKING && !link->linked && !link->connecting)
        link->connecting =
            call_supervisor(link, "sandbox.connect", json_object(), on_connection) == 0;
    if (must_wake)
        wake(link);
    if (state == ROUTE_RUNNING && link->linked && !link->filling)
        fill_stock(link);
}

/* Before the state, which lets requests go on. What says nothing of access is taken for private. */
static void take_access(struct link *link, const json_t *object)
{
    const char *access = json_string_value(json_object_get(object, "access"));
    json_int_t epoch = json_integer_value(json_object_get(object, "access_epoch"));

    if (sandbox_set_access(
            link->sandbox,
            &(struct access){.is_private = !str_equal(access, "public"), .epoch = (uint32_t)epoch}))
        publish(link);
}

static void link_runs(struct link *link)
{
    if (link->heard && rests(sandbox_view(link->sandbox).state))
        set_state(link, ROUTE_RUNNING);
    else if (!link->heard)
        set_state(link, ROUTE_LINKING);
}

void link_state(struct link *link, const json_t *object)
{
    const char *state = json_string_value(json_object_get(object, "state"));

    if (strcmp(state, "removed") == 0 || strcmp(state, "removing") == 0) {
        set_unknown(link);
        return;
    }
    set_known(link);
    take_access(link, object);
    if (strcmp(state, "running") == 0) {
        link_runs(link);
    } else if (strcmp(state, "paused") == 0) {
        /* sockets and the connection to its init are of use again when it goes on */
        bool sleeps = json_is_true(json_object_get(object, "sleeps"));
        set_state(link, sleeps ? ROUTE_ASLEEP : ROUTE_PAUSED);
    } else {
        unlink_init(link);
        set_state(link, strcmp(state, "creating") == 0 ? ROUTE_CREATING : ROUTE_STOPPED);
    }
    link_refresh(link);
}

void link_event(struct link *link)
{
    int r = rpc_dispatch(&link->rpc);

    if (r >= 0 && !link->broken)
        return;
    unlink_init(link);
    set_state(link, ROUTE_ASKING);
    retry_later(link);
}

void links_ask_all(struct control *control)
{
    for (struct link *link = control->links; link; link = link->next)
        link->ask_again = true;
    links_refresh_all(control);
}

void links_refresh_all(struct control *control)
{
    control->postponed = false;
    for (struct link *link = control->links; link; link = link->next)
        link_refresh(link);
}

static void tick(struct link *link, int64_t now)
{
    bool waits = false;

    if (link->unknown_until > 0 && now >= link->unknown_until) {
        forget(link);
        return;
    }
    waits = link->unknown_until > 0 || now < link->retry_at;
    if (link->watch.muted && now / 1000 != link->second) {
        link->watch.muted = false;
        if (link->linked)
            watch_set(&link->watch, ipc_pending(&link->rpc.ipc));
    }
    set_timed(link, waits || link->watch.muted);
    link_refresh(link);
}

void links_tick(struct control *control)
{
    int64_t now = now_monotonic_ms();

    for (struct link *link = control->links, *next; link; link = next) {
        next = link->next;
        if (link->timed)
            tick(link, now);
    }
}

void links_free(struct control *control)
{
    for (struct link *link = control->links, *next; link; link = next) {
        next = link->next;
        forget(link);
    }
}
