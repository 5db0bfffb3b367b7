/* Theory of operation: see worker.h. One turn of the loop waits, hands every event to the client
 * concerned, runs those that have more to do, then expired timers. Objects closed in a turn are
 * reused only after it, since later events of the same turn may still point at them. */
#include "proxy/worker.h"

#include "proxy/access-log.h"
#include "proxy/admit.h"
#include "proxy/client.h"
#include "proxy/listener.h"
#include "proxy/record.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS_MAX   128
#define AGAIN_ROUNDS 3

unsigned int clients_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1024};

    getrlimit(RLIMIT_NOFILE, &limit);
    /* Each client may need a second descriptor; some are for stocks and channels. */
    uint64_t share = ((uint64_t)limit.rlim_cur - limit.rlim_cur / DESCRIPTORS_KEPT) / 2;
    return share < CONNECTIONS_MAX ? (unsigned int)share : CONNECTIONS_MAX;
}

int worker_init(struct worker *worker, struct proxy *proxy, struct error *err)
{
    worker->proxy = proxy;
    if (proxy->log)
        worker->feed = access_log_feed(proxy->log, (unsigned int)(worker - proxy->workers));
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->wake = (struct peer){.kind = PEER_WAKE, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (worker->epoll < 0 || worker->wake.fd < 0)
        return error_sys(err, errno, "making an epoll set");
    timers_init(&worker->timers, proxy->config.proxy_wait_ms);
    worker->timers.duration[TIMER_HEAD] = proxy->config.proxy_head_timeout_ms;
    worker->timers.duration[TIMER_IDLE] = proxy->config.proxy_idle_timeout_ms;
    worker->timers.duration[TIMER_UPSTREAM] = proxy->config.proxy_upstream_timeout_ms;
    int r = pthread_mutex_init(&worker->mail_lock, NULL);
    if (r == 0)
        r = -peer_watch(&worker->wake, worker->epoll);
    if (r != 0)
        return error_sys(err, r, "setting up a thread");
    for (unsigned int i = 0; i < proxy->n_listeners; i++)
        worker->listeners[i] = (struct peer){.kind = PEER_LISTENER,
                                             .fd = proxy->listeners[i],
                                             .layer = proxy->listens_tls[i] ? &proxy->tls : NULL};
    worker_listen(worker);
    return 0;
}

bool proxy_has_room(struct proxy *proxy)
{
    return atomic_load(&proxy->n_clients) < atomic_load(&proxy->clients_max);
}

/* A client has gone, so those that stopped for want of room may go on. */
static void wake_the_full(struct proxy *proxy)
{
    if (!atomic_load_explicit(&proxy->full, memory_order_relaxed) ||
        !atomic_exchange(&proxy->full, false))
        return;
    for (unsigned int i = 0; i < proxy->n_workers; i++)
        worker_wake(&proxy->workers[i]);
}

void worker_listen(struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    bool room = proxy_has_room(proxy);

    if (room)
        wake_the_full(proxy);
    else
        atomic_store(&proxy->full, true);
    /* The last one may have gone just before it could know. */
    bool wanted = (room || proxy_has_room(proxy)) && !atomic_load(&proxy->draining);
    if (wanted == worker->listening)
        return;
    for (unsigned int i = 0; i < proxy->n_listeners; i++) {
        struct peer *listener = &worker->listeners[i];
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = listener};
        epoll_ctl(worker->epoll, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener->fd, &event);
    }
    worker->listening = wanted;
}

void worker_wake(struct worker *worker)
{
    eventfd_write(worker->wake.fd, 1);
}

void worker_tell(struct worker *worker, struct sandbox *sandbox)
{
    pthread_mutex_lock(&worker->mail_lock);
    if (worker->n_mail < MAIL_MAX)
        worker->mail[worker->n_mail++] = sandbox_ref(sandbox);
    else
        worker->mail_lost = true;
    pthread_mutex_unlock(&worker->mail_lock);
    worker_wake(worker);
}

bool worker_give(struct worker *worker, const struct given *given)
{
    pthread_mutex_lock(&worker->mail_lock);
    bool room = worker->n_given < GIVEN_MAX;
    if (room)
        worker->given[worker->n_given++] = *given;
    pthread_mutex_unlock(&worker->mail_lock);
    if (room)
        worker_wake(worker);
    return room;
}

void worker_again(struct worker *worker, struct client *client)
{
    if (client->again)
        return;
    client->again = true;
    client->again_next = worker->again;
    worker->again = client;
}

/* Requests that were let in and sent before it was known to sleep: nobody would answer them. */
static void wake_at_work(struct worker *worker, struct site *site)
{
    if (sandbox_view(site->sandbox).state != ROUTE_ASLEEP)
        return;
    for (const struct client *client = worker->clients; client; client = client->next)
        if (client->site == site &&
            (client->state == CLIENT_CONNECT || client->state == CLIENT_EXCHANGE ||
             client->state == CLIENT_TUNNEL)) {
            sandbox_wake(&worker->proxy->routes, site->sandbox);
            return;
        }
}

static void site_changed(struct worker *worker, struct site *site)
{
    site->refs++;
    site_refresh(worker, site);
    admit_review(worker, site);
    wake_at_work(worker, site);
    for (struct client *client = site->waiters, *next; client; client = next) {
        next = client->wait_next;
        if (client->state != CLIENT_PARKED)
            continue;
        dispatch_changed(client);
        client_run(client);
    }
    site_put(worker, site);
}

static void all_sites_changed(struct worker *worker)
{
    for (size_t i = 0; i < SITE_BUCKETS; i++)
        for (struct site *site = worker->sites[i], *next; site; site = next) {
            next = site->next;
            site_changed(worker, site);
        }
}

static void drain(struct worker *worker)
{
    if (worker->drain_until > 0)
        return;
    worker->drain_until = worker->timers.now + DRAIN_MS;
    worker->drain_idle_at = worker->timers.now + DRAIN_IDLE_MS;
    worker_listen(worker);
}

/* A client that keeps a connection for its next request may be sending it just now. It gets a while
 * to do so, and its answer tells it that the connection ends; those that stay silent are closed. */
static void drain_idle(struct worker *worker)
{
    if (worker->drain_idle_at == 0 || worker->timers.now < worker->drain_idle_at)
        return;
    worker->drain_idle_at = 0;
    for (struct client *client = worker->clients, *next; client; client = next) {
        next = client->next;
        client_drain(client);
    }
}

static void take_given(struct worker *worker)
{
    struct given given[GIVEN_MAX];

    pthread_mutex_lock(&worker->mail_lock);
    unsigned int n = worker->n_given;
    memcpy(given, worker->given, n * sizeof(given[0]));
    worker->n_given = 0;
    pthread_mutex_unlock(&worker->mail_lock);
    for (unsigned int i = 0; i < n; i++)
        client_new(worker, &given[i]);
}

static void read_mail(struct worker *worker)
{
    struct sandbox *mail[MAIL_MAX];

    pthread_mutex_lock(&worker->mail_lock);
    unsigned int n = worker->n_mail;
    bool lost = worker->mail_lost;
    for (unsigned int i = 0; i < n; i++)
        mail[i] = worker->mail[i];
    worker->n_mail = 0;
    worker->mail_lost = false;
    pthread_mutex_unlock(&worker->mail_lock);
    for (unsigned int i = 0; i < n; i++) {
        struct site *site = site_find(worker, mail[i]->id);
        if (site && !lost)
            site_changed(worker, site);
        sandbox_unref(mail[i]);
    }
    if (lost)
        all_sites_changed(worker);
}

static void woken(struct worker *worker)
{
    eventfd_t ignored;

    eventfd_read(worker->wake.fd, &ignored);
    take_given(worker);
    read_mail(worker);
    worker_listen(worker);
    if (atomic_load(&worker->proxy->draining))
        drain(worker);
}

static void handle_event(struct worker *worker, struct peer *peer, uint32_t events)
{
    if (peer->kind == PEER_LISTENER) {
        listener_accept(worker, peer);
    } else if (peer->kind == PEER_WAKE) {
        woken(worker);
    } else if (peer->fd >= 0 && peer->kind == PEER_CLIENT) {
        peer_event(peer, events);
        client_run((struct client *)peer);
    } else if (peer->fd >= 0) {
        struct upstream *upstream = (struct upstream *)peer;
        peer_event(peer, events);
        if (upstream->client)
            client_run(upstream->client);
        else
            upstream_idle_event(upstream);
    }
}

/* More than once, since a stream has its connection run again, and that its streams. */
static void run_again(struct worker *worker)
{
    for (int round = 0; worker->again && round < AGAIN_ROUNDS; round++) {
        struct client *client = worker->again;
        worker->again = NULL;
        while (client) {
            struct client *next = client->again_next;
            client->again = false;
            client_run(client);
            client = next;
        }
    }
}

void worker_pause(struct worker *worker, struct client *client)
{
    if (client->paused)
        return;
    if (!worker->paused)
        worker->resume_at = worker->timers.now + PAUSE_MS;
    client->paused = true;
    client->paused_next = worker->paused;
    worker->paused = client;
}

static void run_paused(struct worker *worker)
{
    struct client *client = worker->paused;

    if (!client || worker->timers.now < worker->resume_at)
        return;
    worker->paused = NULL;
    while (client) {
        struct client *next = client->paused_next;
        client->paused = false;
        client_run(client);
        client = next;
    }
}

static void run_timers(struct worker *worker)
{
    struct timer *timer;

    while ((timer = timers_expired(&worker->timers))) {
        struct peer *peer = (struct peer *)((char *)timer - offsetof(struct peer, timer));
        if (peer->kind == PEER_CLIENT)
            client_timeout((struct client *)peer, (enum timer_class)timer->class);
        else
            upstream_close((struct upstream *)peer);
    }
}

static void bury(struct worker *worker)
{
    while (worker->dead_clients) {
        struct client *client = worker->dead_clients;
        if (client->again || client->paused)
            break;
        worker->dead_clients = client->next;
        if (worker->n_free_clients >= OBJECTS_FREE_MAX) {
            free(client);
            continue;
        }
        client->next = worker->free_clients;
        worker->free_clients = client;
        worker->n_free_clients++;
    }
    while (worker->dead_upstreams) {
        struct upstream *upstream = worker->dead_upstreams;
        worker->dead_upstreams = upstream->next;
        if (worker->n_free_upstreams >= OBJECTS_FREE_MAX) {
            free(upstream);
            continue;
        }
        upstream->next = worker->free_upstreams;
        worker->free_upstreams = upstream;
        worker->n_free_upstreams++;
    }
}

static bool is_over(const struct worker *worker)
{
    return worker->drain_until > 0 &&
           (atomic_load(&worker->n_clients) == 0 || worker->timers.now >= worker->drain_until);
}

static int wait_ms(const struct worker *worker)
{
    int wait = worker->again ? 0 : timers_wait(&worker->timers);

    int expires = admit_wait_ms(worker);

    if (worker->paused && (wait < 0 || wait > PAUSE_MS))
        wait = PAUSE_MS;
    if (expires >= 0 && (wait < 0 || wait > expires))
        wait = expires;
    if (worker->drain_until == 0)
        return wait;
    int64_t until = worker->drain_idle_at > 0 ? worker->drain_idle_at : worker->drain_until;
    int64_t left = until - worker->timers.now;
    return wait < 0 || wait > left ? (int)(left > 0 ? left : 0) : wait;
}

void worker_turn(struct worker *worker, int most_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(worker->epoll, events, EVENTS_MAX, most_ms);

    timers_update(&worker->timers);
    for (int i = 0; i < n; i++)
        handle_event(worker, events[i].data.ptr, events[i].events);
    run_again(worker);
    run_paused(worker);
    run_timers(worker);
    admit_expire(worker);
    drain_idle(worker);
    bury(worker);
}

static void *run(void *userdata)
{
    struct worker *worker = userdata;

    while (!is_over(worker))
        worker_turn(worker, wait_ms(worker));
    atomic_fetch_add(&worker->proxy->n_ended, 1);
    eventfd_write(worker->proxy->routes.wake, 1);
    return NULL;
}

int worker_start(struct worker *worker, struct error *err)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r != 0 ? error_sys(err, r, "starting a thread") : 0;
}

static void free_lists(struct worker *worker)
{
    while (worker->free_clients) {
        struct client *next = worker->free_clients->next;
        free(worker->free_clients);
        worker->free_clients = next;
    }
    while (worker->free_upstreams) {
        struct upstream *next = worker->free_upstreams->next;
        free(worker->free_upstreams);
        worker->free_upstreams = next;
    }
}

void worker_free(struct worker *worker)
{
    take_given(worker);
    while (worker->clients) {
        record_reason(worker->clients, RECORD_PROXY_ENDED);
        client_close(worker->clients);
    }
    run_again(worker);
    worker->resume_at = 0;
    run_paused(worker);
    sites_free(worker);
    bury(worker);
    free_lists(worker);
    records_free(worker);
    buffer_pool_free(&worker->buffers);
    pipe_pool_free(&worker->pipes);
    while (worker->n_mail > 0)
        sandbox_unref(worker->mail[--worker->n_mail]);
    pthread_mutex_destroy(&worker->mail_lock);
    close(worker->wake.fd);
    close(worker->epoll);
}
