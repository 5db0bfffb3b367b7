/* Theory of operation: see count.h. A sandbox gets its slot with the first request that finds it
 * running, so guessing at names costs none. */
#include "proxy/count.h"

#include "base/figures.h"
#include "base/str.h"

static struct figures_slot *slot_of(const struct client *client)
{
    struct figures *figures = client->worker->proxy->figures;
    struct sandbox *sandbox = client->site ? client->site->sandbox : NULL;

    if (!figures || !sandbox)
        return NULL;
    struct figures_slot *slot = atomic_load(&sandbox->figures);
    if (slot || sandbox_view(sandbox).state != ROUTE_RUNNING)
        return slot;
    pthread_mutex_lock(&sandbox->lock); /* else two threads may both make one */
    slot = atomic_load(&sandbox->figures);
    if (!slot)
        slot = figures_slot(figures, sandbox->id);
    atomic_store(&sandbox->figures, slot);
    pthread_mutex_unlock(&sandbox->lock);
    return slot;
}

static uint64_t now_us(void)
{
    return (uint64_t)now_monotonic_ns() / 1000;
}

void count_answer(struct client *client, int status)
{
    struct figures_slot *slot = slot_of(client);

    if (slot)
        figures_add(&slot->requests[status >= 100 && status < 600 ? status / 100 : 0], 1);
}

void count_sent(struct client *client)
{
    client->sent_us = now_us();
    if (!client->opened) /* it came when nothing was known of the sandbox yet */
        count_open(client, 1);
}

void count_head(struct client *client)
{
    struct figures_slot *slot = slot_of(client);

    if (slot)
        figures_latency(slot, now_us() - client->sent_us);
}

void count_bytes(struct client *client, uint64_t received, uint64_t sent)
{
    struct figures_slot *slot = slot_of(client);

    if (slot && received > 0)
        figures_add(&slot->received, received);
    if (slot && sent > 0)
        figures_add(&slot->sent, sent);
}

void count_open(struct client *client, int change)
{
    const struct proxy *proxy = client->worker->proxy;
    struct figures_slot *slot = change > 0 ? slot_of(client) : client->opened;

    if (slot)
        atomic_fetch_add(&slot->open[proxy->era & 1], change);
    if (slot && change > 0)
        figures_add(&slot->connections, 1);
    client->opened = change > 0 ? slot : NULL;
}
