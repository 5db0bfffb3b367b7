/* Theory of operation: decides, from the sandbox's view, what becomes of a request: sent on, held
 * until its dev server is ready, or answered. A held client sits among its site's waiters and is
 * judged anew whenever the control thread tells of a change. People get a page that follows the
 * start at once; programs wait, up to [proxy] wait_ms. */
#include "proxy/admit.h"
#include "proxy/bridge.h"
#include "proxy/client.h"
#include "proxy/page.h"
#include "proxy/quota.h"

#include "proxy/stock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct text reserved_paths[] = {
    [RESERVED_STATUS] = TEXT("/.auracode/status"),
    [RESERVED_BRIDGE] = TEXT(BRIDGE_PATH),
};

void dispatch_unpark(struct client *client)
{
    if (!client->waiting)
        return;
    if (client->wait_previous)
        client->wait_previous->wait_next = client->wait_next;
    else
        client->site->waiters = client->wait_next;
    if (client->wait_next)
        client->wait_next->wait_previous = client->wait_previous;
    client->wait_next = client->wait_previous = NULL;
    client->waiting = false;
}

static void show_away(struct client *client)
{
    struct page page = {.status = 503,
                        .code = "unavailable",
                        .title = "Not available right now",
                        .message = "The sandbox could not be reached in time.",
                        .retry_after = 1};

    reply_page(client, &page);
}

/* However the reasons to wait alternate, nobody waits longer than the longest two. */
static bool waited_enough(const struct client *client)
{
    const struct timers *timers = &client->worker->timers;

    return client->waiting_since > 0 &&
           timers->now - client->waiting_since >
               timers->duration[TIMER_START] + timers->duration[TIMER_SUPERVISOR];
}

static void park(struct client *client, enum timer_class class)
{
    struct worker *worker = client->worker;
    struct site *site = client->site;
    struct timer *timer = &client->peer.timer;

    if (waited_enough(client)) {
        show_away(client);
        return;
    }
    if (client->waiting_since == 0)
        client->waiting_since = worker->timers.now;
    client->state = CLIENT_PARKED;
    if (!timer->next || timer->class != class)
        timer_arm(&worker->timers, timer, class);
    if (client->waiting)
        return;
    client->waiting = true;
    client->wait_previous = NULL;
    client->wait_next = site->waiters;
    if (site->waiters)
        site->waiters->wait_previous = client;
    site->waiters = client;
}

/* Answers with what is known of the sandbox; `what` has the rest. */
static void show(struct client *client, const struct page *what, bool with_ports)
{
    struct page page = *what;
    struct sandbox *sandbox = client->site->sandbox;
    char message[sizeof(sandbox->detail.cause) + 256];
    struct detail detail;

    pthread_mutex_lock(&sandbox->lock);
    detail = sandbox->detail;
    pthread_mutex_unlock(&sandbox->lock);
    snprintf(message, sizeof(message), "%s%s%s", page.message, detail.cause[0] ? " " : "",
             detail.cause);
    page.message = message;
    page.lines = detail.lines;
    page.ports = detail.ports;
    page.n_ports = with_ports ? detail.n_ports : 0;
    reply_page(client, &page);
}

static void show_unknown(struct client *client)
{
    struct page page = {.status = 404,
                        .code = "sandbox_not_found",
                        .title = "No such sandbox",
                        .message = "There is no sandbox with this id. It may have been removed."};

    reply_page(client, &page);
}

static void show_stopped(struct client *client)
{
    struct page page = {.status = 503,
                        .code = "sandbox_stopped",
                        .title = "The sandbox is stopped",
                        .message = "Start it, and this page will load.",
                        .poll = "",
                        .retry_after = 5};

    reply_page(client, &page);
}

static void show_paused(struct client *client)
{
    struct page page = {.status = 503,
                        .code = "sandbox_paused",
                        .title = "The sandbox is paused",
                        .message = "Resume it, and this page will load.",
                        .poll = "",
                        .retry_after = 5};

    reply_page(client, &page);
}

static void show_starting(struct client *client)
{
    struct page page = {.status = 503,
                        .code = "starting",
                        .title = "Starting the dev server",
                        .message = "This page loads by itself as soon as it answers.",
                        .poll = "",
                        .busy = true,
                        .retry_after = 1};

    show(client, &page, false);
}

static void show_crashed(struct client *client)
{
    struct page page = {.status = 502,
                        .code = "crashed",
                        .title = "The dev server has crashed",
                        .message = "These are its last lines.",
                        .poll = ""};

    show(client, &page, false);
}

static void show_not_listening(struct client *client)
{
    char title[64] = "No dev server is set";
    struct page page = {.status = 502,
                        .code = "not_listening",
                        .title = title,
                        .message = "Nothing was set to run in this sandbox.",
                        .poll = ""};

    if (client->port > 0) {
        snprintf(title, sizeof(title), "Nothing listens on port %u", client->port);
        page.message = "The sandbox runs, but no program in it listens on this port.";
    }
    show(client, &page, true);
}

static void hold_start(struct client *client)
{
    /* A restart that is no crash explains why an answer was lost; it is not the request's doing. */
    if (sandbox_view(client->site->sandbox).service == SERVICE_STARTING)
        client->retries = 0;
    client->refused_since = 0; /* as long as it is known to be away, [proxy] wait_ms counts */
    if (client->navigation)
        show_starting(client);
    else
        park(client, TIMER_START);
}

static bool will_come(const struct view *view)
{
    return view->service == SERVICE_STARTING ||
           (view->service == SERVICE_CRASHED && view->auto_restart);
}

/* While it is said to listen, or did a moment ago, it may just be restarting itself. */
static bool may_return(const struct client *client, const struct view *view)
{
    return (client->port == view->port && view->service == SERVICE_READY) ||
           sandbox_port_found(client->site->sandbox, client->port);
}

/* Nobody listens there. */
static void refused(struct client *client)
{
    struct view view = sandbox_view(client->site->sandbox);
    int64_t now = client->worker->timers.now;

    client->other_tried = false;
    if (client->refused_since == 0)
        client->refused_since = now;
    if (view.state == ROUTE_RUNNING && will_come(&view))
        hold_start(client);
    else if (view.state == ROUTE_RUNNING && may_return(client, &view) &&
             now - client->refused_since < REFUSED_WAIT_MS) {
        park(client, TIMER_RETRY);
    } else {
        sandbox_lose_port(client->site->sandbox, client->port);
        show_not_listening(client);
    }
}

static void connect_to(struct client *client, uint16_t port, const struct view *view);

static void connect_failed(struct client *client, int r)
{
    struct view view = sandbox_view(client->site->sandbox);

    if (r == -EAGAIN) {
        park(client, TIMER_SUPERVISOR);
    } else if (!client->other_tried && r != -ENOMEM) {
        client->other_tried = true;
        connect_to(client, client->port, &view);
    } else {
        refused(client);
    }
}

static void connect_to(struct client *client, uint16_t port, const struct view *view)
{
    struct worker *worker = client->worker;
    struct site *site = client->site;
    bool inet6 = site_prefers_inet6(site, port) || (port == view->port && view->inet6);

    client->port = port;
    if (client->retries == 0 && !client->other_tried) {
        client->upstream =
            upstream_take_idle(worker, site, port, view->generation, !client->idempotent);
        if (client->upstream) {
            client->upstream->client = client;
            exchange_start(client);
            return;
        }
    }
    int r = upstream_connect(worker, site, port, inet6 != client->other_tried, view->generation,
                             &client->upstream);
    if (r < 0) {
        connect_failed(client, r);
        return;
    }
    client->upstream->client = client;
    client->state = CLIENT_CONNECT;
    timer_arm(&worker->timers, &client->peer.timer, TIMER_CONNECT);
    dispatch_connecting(client);
}

static void route_running(struct client *client, const struct view *view)
{
    uint16_t port = client->target.port > 0 ? client->target.port : view->port;
    bool is_service = client->target.port == 0 || (port == view->port && port > 0);

    client->port = port;
    /* One that serves below the prefix decides itself how its root is spelt. */
    if (client->target.slash_missing && !(view->path_form && port == view->port))
        reply_redirect_slash(client);
    else if (is_service && will_come(view))
        hold_start(client);
    else if (is_service && view->service == SERVICE_CRASHED)
        show_crashed(client);
    else if (port == 0 || (client->target.port == 0 && view->service == SERVICE_STOPPED))
        show_not_listening(client);
    else
        connect_to(client, port, view);
}

static void wake(struct client *client)
{
    park(client, TIMER_SUPERVISOR);
    sandbox_wake(&client->worker->proxy->routes, client->site->sandbox);
}

static void route(struct client *client)
{
    struct view view = sandbox_view(client->site->sandbox);

    if (view.state != ROUTE_ASKING && view.state != ROUTE_UNKNOWN && !admit(client))
        return;
    if (client->reserved == RESERVED_STATUS && view.state != ROUTE_ASKING &&
        view.state != ROUTE_LINKING) {
        reply_status(client);
        return;
    }
    switch (view.state) {
    case ROUTE_ASKING:
    case ROUTE_LINKING:
        park(client, TIMER_SUPERVISOR);
        break;
    case ROUTE_UNKNOWN:
        show_unknown(client);
        break;
    case ROUTE_CREATING:
        hold_start(client);
        break;
    case ROUTE_STOPPED:
        show_stopped(client);
        break;
    case ROUTE_RUNNING:
    case ROUTE_ASLEEP:
        if (client->reserved == RESERVED_BRIDGE)
            bridge_answer(client);
        else if (view.state == ROUTE_RUNNING)
            route_running(client, &view);
        else
            wake(client);
        break;
    case ROUTE_PAUSED:
        show_paused(client);
        break;
    }
}

static bool find_target(struct client *client, const struct head *head)
{
    struct text authority = {client->authority, client->authority_length};

    if (authority.length > 0 &&
        target_from_authority(authority, client->worker->proxy->domain, &client->target))
        return true;
    return target_from_path(client_path(client, head), &client->target);
}

static void show_expected(struct client *client)
{
    char message[512];
    struct page page = {.status = 404, .code = "no_preview_named", .title = "No preview is named"};
    const struct text *domain = &client->worker->proxy->domain;
    const char *colon = strrchr(client->authority, ':');

    snprintf(message, sizeof(message),
             "This is a preview server. Expected is ID.%.*s%s for a sandbox's dev server, "
             "PORT-ID.%.*s%s for another port, or the path /p/ID/PORT/.",
             (int)domain->length, domain->data, colon ? colon : "", (int)domain->length,
             domain->data, colon ? colon : "");
    page.message = message;
    reply_page(client, &page);
}

static enum reserved find_reserved(const struct client *client, struct text path)
{
    const char *query = memchr(path.data, '?', path.length);

    if (query)
        path.length = (size_t)(query - path.data);
    if (text_is(path, reserved_paths[RESERVED_STATUS]))
        return RESERVED_STATUS;
    return client->worker->proxy->bridges && text_is(path, reserved_paths[RESERVED_BRIDGE])
               ? RESERVED_BRIDGE
               : RESERVED_NONE;
}

static void show_too_many(struct client *client)
{
    struct page page = {.status = 429,
                        .code = "too_many_connections",
                        .title = "Too many connections",
                        .message = "This sandbox serves as many requests as it may at a time.",
                        .retry_after = 1};

    reply_page(client, &page);
}

void dispatch_request(struct client *client)
{
    struct worker *worker = client->worker;
    const struct head *head = client_head(client);

    if (!find_target(client, head)) {
        show_expected(client);
        return;
    }
    if (!client->secure && worker->proxy->redirects) {
        reply_redirect_tls(client);
        return;
    }
    client->site = site_get(worker, client->target.id);
    if (!client->site) {
        reply_error(client, 503, "out_of_memory", "The proxy is out of memory.");
        return;
    }
    client->reserved = (uint8_t)find_reserved(client, client_path(client, head));
    if (client->reserved != RESERVED_STATUS && !quota_enter(client)) {
        show_too_many(client);
        return;
    }
    route(client);
}

void dispatch_parked(struct client *client)
{
    /* The end of the client's direction is no reason to give up (half-close); a reset is. */
    if (client->peer.failed)
        client_close(client);
    else if (client->peer.timer.class != TIMER_RETRY)
        route(client);
}

void dispatch_changed(struct client *client)
{
    route(client);
}

void dispatch_connecting(struct client *client)
{
    struct upstream *upstream = client->upstream;

    if (client->peer.failed) {
        client_close(client);
        return;
    }
    int r = upstream_finish_connect(upstream);
    if (r == -EINPROGRESS)
        return;
    timer_cancel(&client->peer.timer);
    if (r == 0) {
        client->refused_since = 0;
        site_found_at(client->site, client->port, upstream->inet6);
        sandbox_find_port(client->site->sandbox, client->port);
        dispatch_unpark(client);
        exchange_start(client);
        return;
    }
    client->upstream = NULL;
    upstream_close(upstream);
    connect_failed(client, r);
}

void dispatch_again(struct client *client, bool fresh)
{
    struct view view = sandbox_view(client->site->sandbox);

    client->retries++;
    client->other_tried = false;
    /* A server that is going away resets what waits to be accepted: not at once again, but when it
     * is known to be back, or a moment later. */
    if (fresh)
        park(client, TIMER_RETRY);
    else if (view.state == ROUTE_RUNNING)
        connect_to(client, client->port, &view);
    else
        route(client);
    worker_again(client->worker, client);
}

void dispatch_timeout(struct client *client, enum timer_class class)
{
    if (client->state == CLIENT_CONNECT) {
        client_release(client);
        reply_error(client, 504, "connect_timeout", "The dev server does not accept connections.");
    } else if (class == TIMER_RETRY) {
        route(client);
    } else if (class == TIMER_START) {
        show_starting(client);
    } else {
        show_away(client);
    }
}
