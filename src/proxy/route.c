/* Theory of operation: see route.h. The table's mutex is taken when a thread meets a sandbox for
 * the first time, never for a request on one that it knows. */
#include "proxy/route.h"

#include "base/cleanup.h"
#include "base/figures.h"
#include "proxy/stock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

int routes_init(struct routes *routes)
{
    memset(routes, 0, sizeof(*routes));
    routes->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (routes->wake < 0)
        return -errno;
    return -pthread_mutex_init(&routes->lock, NULL);
}

static struct sandbox **bucket_of(struct routes *routes, const char *id)
{
    uint32_t hash = 2166136261u;

    for (const char *c = id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &routes->buckets[hash % ROUTE_BUCKETS];
}

struct sandbox *sandbox_ref(struct sandbox *sandbox)
{
    atomic_fetch_add(&sandbox->refs, 1);
    return sandbox;
}

void sandbox_unref(struct sandbox *sandbox)
{
    if (!sandbox || atomic_fetch_sub(&sandbox->refs, 1) > 1)
        return;
    stock_clear(sandbox, 0);
    if (sandbox_view(sandbox).state == ROUTE_UNKNOWN)
        figures_release(atomic_load(&sandbox->figures));
    pthread_mutex_destroy(&sandbox->lock);
    free(sandbox);
}

static struct sandbox *find_locked(struct routes *routes, const char *id)
{
    struct sandbox *sandbox = *bucket_of(routes, id);

    while (sandbox && strcmp(sandbox->id, id) != 0)
        sandbox = sandbox->next;
    return sandbox ? sandbox_ref(sandbox) : NULL;
}

static struct sandbox *add_locked(struct routes *routes, const char *id)
{
    struct sandbox **bucket = bucket_of(routes, id);
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));

    if (!sandbox || pthread_mutex_init(&sandbox->lock, NULL) != 0) {
        free(sandbox);
        return NULL;
    }
    memcpy(sandbox->id, id, sizeof(sandbox->id));
    atomic_init(&sandbox->refs, 2); /* the table's and the caller's */
    sandbox->next = *bucket;
    *bucket = sandbox;
    return sandbox;
}

struct sandbox *sandbox_get(struct routes *routes, const char *id)
{
    bool fresh = false;

    pthread_mutex_lock(&routes->lock);
    struct sandbox *sandbox = find_locked(routes, id);
    if (!sandbox) {
        sandbox = add_locked(routes, id);
        fresh = sandbox != NULL;
    }
    pthread_mutex_unlock(&routes->lock);
    if (fresh)
        sandbox_ask(routes, sandbox);
    return sandbox;
}

struct sandbox *sandbox_find(struct routes *routes, const char *id)
{
    pthread_mutex_lock(&routes->lock);
    struct sandbox *sandbox = find_locked(routes, id);
    pthread_mutex_unlock(&routes->lock);
    return sandbox;
}

void sandbox_forget(struct routes *routes, struct sandbox *sandbox)
{
    struct sandbox **link;
    bool found = false;

    pthread_mutex_lock(&routes->lock);
    for (link = bucket_of(routes, sandbox->id); *link; link = &(*link)->next)
        if (*link == sandbox) {
            *link = sandbox->next;
            found = true;
            break;
        }
    pthread_mutex_unlock(&routes->lock);
    if (found)
        sandbox_unref(sandbox);
}

void sandbox_ask(struct routes *routes, struct sandbox *sandbox)
{
    if (atomic_exchange(&sandbox->asked, true))
        return;
    sandbox_ref(sandbox);
    pthread_mutex_lock(&routes->lock);
    sandbox->queue_next = routes->queue;
    routes->queue = sandbox;
    pthread_mutex_unlock(&routes->lock);
    eventfd_write(routes->wake, 1);
}

void sandbox_wake(struct routes *routes, struct sandbox *sandbox)
{
    atomic_store(&sandbox->wanted, true);
    sandbox_ask(routes, sandbox);
}

struct sandbox *routes_asked(struct routes *routes)
{
    pthread_mutex_lock(&routes->lock);
    struct sandbox *sandbox = routes->queue;
    if (sandbox)
        routes->queue = sandbox->queue_next;
    pthread_mutex_unlock(&routes->lock);
    if (sandbox)
        atomic_store(&sandbox->asked, false);
    return sandbox;
}

void routes_free(struct routes *routes)
{
    struct sandbox *asked;

    while ((asked = routes_asked(routes)))
        sandbox_unref(asked);
    for (size_t i = 0; i < ROUTE_BUCKETS; i++)
        for (struct sandbox *sandbox = routes->buckets[i], *next; sandbox; sandbox = next) {
            next = sandbox->next;
            sandbox_unref(sandbox);
        }
    pthread_mutex_destroy(&routes->lock);
    close_and_forget(&routes->wake);
}

/* generation:32 port:16 path_form:1 inet6:1 auto_restart:1 service:2 state:3 */
struct view sandbox_view(const struct sandbox *sandbox)
{
    uint64_t word = atomic_load_explicit(&sandbox->view, memory_order_acquire);

    return (struct view){.state = (enum route_state)(word & 7),
                         .service = (enum service_state)(word >> 3 & 3),
                         .auto_restart = word >> 5 & 1,
                         .inet6 = word >> 6 & 1,
                         .path_form = word >> 7 & 1,
                         .port = (uint16_t)(word >> 16),
                         .generation = (uint32_t)(word >> 32)};
}

void sandbox_set_view(struct sandbox *sandbox, const struct view *view)
{
    uint64_t word = (uint64_t)view->state | (uint64_t)view->service << 3 |
                    (uint64_t)view->auto_restart << 5 | (uint64_t)view->inet6 << 6 |
                    (uint64_t)view->path_form << 7 | (uint64_t)view->port << 16 |
                    (uint64_t)view->generation << 32;

    atomic_store_explicit(&sandbox->view, word, memory_order_release);
}

uint64_t sandbox_access_word(const struct sandbox *sandbox)
{
    return atomic_load_explicit(&sandbox->access, memory_order_acquire);
}

/* private:1 epoch:32 */
struct access sandbox_access(const struct sandbox *sandbox)
{
    uint64_t word = sandbox_access_word(sandbox);

    return (struct access){.is_private = word >> 32 & 1, .epoch = (uint32_t)word};
}

bool sandbox_set_access(struct sandbox *sandbox, const struct access *access)
{
    uint64_t word = (uint64_t)access->is_private << 32 | access->epoch;

    return atomic_exchange(&sandbox->access, word) != word;
}

bool sandbox_port_found(const struct sandbox *sandbox, uint16_t port)
{
    for (size_t i = 0; i < PORTS_FOUND_MAX; i++)
        if (atomic_load_explicit(&sandbox->found[i], memory_order_relaxed) == port)
            return true;
    return false;
}

void sandbox_find_port(struct sandbox *sandbox, uint16_t port)
{
    if (!sandbox_port_found(sandbox, port))
        atomic_store(&sandbox->found[atomic_fetch_add(&sandbox->found_next, 1) % PORTS_FOUND_MAX],
                     port);
}

void sandbox_lose_port(struct sandbox *sandbox, uint16_t port)
{
    for (size_t i = 0; i < PORTS_FOUND_MAX; i++)
        if (atomic_load(&sandbox->found[i]) == port)
            atomic_store(&sandbox->found[i], 0);
}
