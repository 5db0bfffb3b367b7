/* Theory of operation: see quota.h. The bandwidth is a token bucket, kept as the moment until which
 * what has moved is paid for: one word, which threads change without a lock. A transfer may
 * overdraw it by what one turn moves; the debt is waited out, so the mean holds. */
#include "proxy/quota.h"

#include "base/str.h"
#include "proxy/count.h"

#define SECOND INT64_C(1000000000)
#define BURST  (SECOND / 4) /* ns of the bandwidth that may be taken at once */

bool quota_enter(struct client *client)
{
    int64_t most = client->worker->proxy->config.proxy_max_connections;
    atomic_uint *clients = &client->site->sandbox->clients;

    if (atomic_fetch_add(clients, 1) >= most && most > 0) {
        atomic_fetch_sub(clients, 1);
        return false;
    }
    client->entered = true;
    count_open(client, 1);
    return true;
}

void quota_leave(struct client *client)
{
    if (!client->entered)
        return;
    atomic_fetch_sub(&client->site->sandbox->clients, 1);
    count_open(client, -1);
    client->entered = false;
}

void quota_charge(struct client *client)
{
    int64_t rate = client->worker->proxy->config.proxy_bandwidth;
    uint64_t in = client->peer.received - client->counted_in;
    uint64_t out = client->peer.sent - client->counted_out;
    uint64_t moved = in + out;

    if (moved == 0)
        return;
    client->counted_in += in;
    client->counted_out += out;
    count_bytes(client, in, out);
    if (rate == 0 || !client->site)
        return;
    _Atomic int64_t *paid = &client->site->sandbox->paid_until;
    int64_t before = atomic_load(paid), after, now = now_monotonic_ns();
    int64_t price = (int64_t)((double)moved * (double)SECOND / (double)rate);
    do
        after = (before > now ? before : now) + price;
    while (!atomic_compare_exchange_weak(paid, &before, after));
}

unsigned int quota_rounds(const struct client *client)
{
    return client->worker->proxy->config.proxy_bandwidth > 0 ? 1 : RUN_ROUNDS;
}

bool quota_exhausted(const struct client *client)
{
    if (client->worker->proxy->config.proxy_bandwidth == 0)
        return false;
    return atomic_load(&client->site->sandbox->paid_until) > now_monotonic_ns() + BURST;
}
