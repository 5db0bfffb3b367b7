/* Theory of operation: see upstream.h. A socket comes out of the sandbox's stock already inside its
 * network namespace, so loopback addresses are the sandbox's own. */
#include "proxy/upstream.h"

#include "proxy/stock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct site **bucket_of(struct worker *worker, const char *id)
{
    uint32_t hash = 2166136261u;

    for (const char *c = id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &worker->sites[hash % SITE_BUCKETS];
}

struct site *site_find(struct worker *worker, const char *id)
{
    struct site *site = *bucket_of(worker, id);

    while (site && strcmp(site->sandbox->id, id) != 0)
        site = site->next;
    return site;
}

struct site *site_get(struct worker *worker, const char *id)
{
    struct site *site = site_find(worker, id);

    if (!site) {
        struct site **bucket = bucket_of(worker, id);
        site = calloc(1, sizeof(*site));
        struct sandbox *sandbox = site ? sandbox_get(&worker->proxy->routes, id) : NULL;
        if (!sandbox) {
            free(site);
            return NULL;
        }
        site->sandbox = sandbox;
        site->access_word = sandbox_access_word(sandbox);
        site->next = *bucket;
        *bucket = site;
    }
    site->refs++;
    return site;
}

static void site_free(struct worker *worker, struct site *site)
{
    struct site **link = bucket_of(worker, site->sandbox->id);

    while (*link != site)
        link = &(*link)->next;
    *link = site->next;
    sandbox_unref(site->sandbox);
    free(site);
}

void site_put(struct worker *worker, struct site *site)
{
    if (--site->refs == 0 && sandbox_view(site->sandbox).state == ROUTE_UNKNOWN)
        site_free(worker, site);
}

void site_refresh(struct worker *worker, struct site *site)
{
    struct view view = sandbox_view(site->sandbox);

    site->refs++;
    for (struct upstream *upstream = site->idle, *next; upstream; upstream = next) {
        next = upstream->next;
        if (view.state != ROUTE_RUNNING || upstream->generation != view.generation)
            upstream_close(upstream);
    }
    site_put(worker, site);
}

void sites_free(struct worker *worker)
{
    for (size_t i = 0; i < SITE_BUCKETS; i++)
        while (worker->sites[i]) {
            struct site *site = worker->sites[i];
            while (site->idle)
                upstream_close(site->idle);
            site_free(worker, site);
        }
}

bool site_prefers_inet6(const struct site *site, uint16_t port)
{
    for (size_t i = 0; i < sizeof(site->inet6_ports) / sizeof(site->inet6_ports[0]); i++)
        if (site->inet6_ports[i] == port)
            return true;
    return false;
}

void site_found_at(struct site *site, uint16_t port, bool inet6)
{
    const unsigned int room = sizeof(site->inet6_ports) / sizeof(site->inet6_ports[0]);

    if (site_prefers_inet6(site, port) == inet6)
        return;
    if (inet6) {
        site->inet6_ports[site->inet6_next++ % room] = port;
        return;
    }
    for (unsigned int i = 0; i < room; i++)
        if (site->inet6_ports[i] == port)
            site->inet6_ports[i] = 0;
}

static void unlink_idle(struct upstream *upstream)
{
    struct site *site = upstream->site;

    if (upstream->previous)
        upstream->previous->next = upstream->next;
    else
        site->idle = upstream->next;
    if (upstream->next)
        upstream->next->previous = upstream->previous;
    upstream->next = upstream->previous = NULL;
    site->n_idle--;
    upstream->idle = false;
}

static bool still_open(const struct upstream *upstream)
{
    char byte;

    return recv(upstream->peer.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct upstream *upstream_take_idle(struct worker *worker, struct site *site, uint16_t port,
                                    uint32_t generation, bool check)
{
    for (struct upstream *upstream = site->idle, *next; upstream; upstream = next) {
        next = upstream->next;
        if (upstream->port != port || upstream->generation != generation)
            continue;
        if (upstream->peer.hung_up || upstream->peer.failed || (check && !still_open(upstream))) {
            upstream_close(upstream);
            continue;
        }
        unlink_idle(upstream);
        timer_cancel(&upstream->peer.timer);
        upstream->reused = true;
        return upstream;
    }
    (void)worker;
    return NULL;
}

static struct upstream *new_upstream(struct worker *worker)
{
    struct upstream *upstream = worker->free_upstreams;

    if (!upstream)
        return calloc(1, sizeof(*upstream));
    worker->free_upstreams = upstream->next;
    worker->n_free_upstreams--;
    memset(upstream, 0, sizeof(*upstream));
    return upstream;
}

static int start_connect(int fd, uint16_t port, bool inet6)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int r = inet6 ? connect(fd, (struct sockaddr *)&v6, sizeof(v6))
                  : connect(fd, (struct sockaddr *)&v4, sizeof(v4));
    return r < 0 ? -errno : 0;
}

int upstream_connect(struct worker *worker, struct site *site, uint16_t port, bool inet6,
                     uint32_t generation, struct upstream **ret_upstream)
{
    bool low = false;
    int fd = stock_take(site->sandbox, inet6, generation, &low);

    if (low)
        sandbox_ask(&worker->proxy->routes, site->sandbox);
    if (fd < 0)
        return fd;
    struct upstream *upstream = new_upstream(worker);
    if (!upstream) {
        close(fd);
        return -ENOMEM;
    }
    *upstream =
        (struct upstream){.peer = {.kind = PEER_UPSTREAM, .fd = fd, .transport = &transport_plain},
                          .worker = worker,
                          .site = site,
                          .generation = generation,
                          .port = port,
                          .inet6 = inet6};
    site->refs++;
    int r = start_connect(fd, port, inet6);
    upstream->connected = r == 0;
    upstream->peer.writable = r == 0;
    if (r == 0 || r == -EINPROGRESS) {
        int w = peer_watch(&upstream->peer, worker->epoll);
        r = w < 0 ? w : 0;
    }
    if (r < 0) {
        upstream_close(upstream);
        return r;
    }
    *ret_upstream = upstream;
    return 0;
}

int upstream_finish_connect(struct upstream *upstream)
{
    int err = 0;
    socklen_t length = sizeof(err);

    if (upstream->connected)
        return 0;
    if (!upstream->peer.writable && !upstream->peer.failed)
        return -EINPROGRESS;
    if (getsockopt(upstream->peer.fd, SOL_SOCKET, SO_ERROR, &err, &length) < 0)
        return -errno;
    if (err != 0 || upstream->peer.failed)
        return err != 0 ? -err : -ECONNREFUSED;
    upstream->connected = true;
    return 0;
}

void upstream_make_idle(struct upstream *upstream)
{
    struct worker *worker = upstream->worker;
    struct site *site = upstream->site;

    upstream->client = NULL;
    if (site->n_idle >= IDLE_PER_SITE_MAX || upstream->peer.hung_up || upstream->peer.failed) {
        upstream_close(upstream);
        return;
    }
    buffer_trim(&worker->buffers, &upstream->peer.in);
    buffer_trim(&worker->buffers, &upstream->peer.out);
    upstream->previous = NULL;
    upstream->next = site->idle;
    if (site->idle)
        site->idle->previous = upstream;
    site->idle = upstream;
    site->n_idle++;
    upstream->idle = true;
    timer_arm(&worker->timers, &upstream->peer.timer, TIMER_UPSTREAM_IDLE);
}

void upstream_close(struct upstream *upstream)
{
    struct worker *worker = upstream->worker;

    if (upstream->peer.fd < 0)
        return;
    if (upstream->idle)
        unlink_idle(upstream);
    peer_close(&worker->buffers, &upstream->peer);
    site_put(worker, upstream->site);
    upstream->client = NULL;
    upstream->next = worker->dead_upstreams;
    worker->dead_upstreams = upstream;
}

void upstream_idle_event(struct upstream *upstream)
{
    /* Nothing is owed to us: whatever comes now, be it the end, spoils the connection. */
    if (upstream->peer.readable || upstream->peer.hung_up || upstream->peer.failed)
        upstream_close(upstream);
}
