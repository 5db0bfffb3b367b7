/* Theory of operation: see limiter.h. A key may live in any of WAYS neighbouring places, so a
 * look-up touches a few cache lines whatever the table's size. */
#include "api/limiter.h"

#define WAYS 8u

void limiter_init(struct limiter *limiter, double rate, double burst)
{
    *limiter = (struct limiter){.rate = rate, .burst = burst};
}

uint64_t limiter_key(uint64_t seed, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    uint64_t hash = seed ^ 0xcbf29ce484222325u;

    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    return hash ? hash : 1;
}

static struct limiter_bucket *find(struct limiter *limiter, uint64_t key, int64_t now_ms)
{
    struct limiter_bucket *row = &limiter->buckets[(key % (LIMITER_BUCKETS / WAYS)) * WAYS];
    struct limiter_bucket *oldest = row;

    for (struct limiter_bucket *bucket = row; bucket < row + WAYS; bucket++) {
        if (bucket->key == key)
            return bucket;
        if (bucket->used_ms < oldest->used_ms)
            oldest = bucket;
    }
    *oldest = (struct limiter_bucket){key, now_ms, limiter->burst};
    return oldest;
}

static struct limiter_bucket *refill(struct limiter *limiter, uint64_t key, int64_t now_ms)
{
    struct limiter_bucket *bucket = find(limiter, key, now_ms);

    bucket->tokens += (double)(now_ms - bucket->used_ms) * limiter->rate / 1000;
    if (bucket->tokens > limiter->burst)
        bucket->tokens = limiter->burst;
    bucket->used_ms = now_ms;
    return bucket;
}

bool limiter_take(struct limiter *limiter, uint64_t key, int64_t now_ms)
{
    struct limiter_bucket *bucket = refill(limiter, key, now_ms);

    if (bucket->tokens < 1)
        return false;
    bucket->tokens -= 1;
    return true;
}

void limiter_give(struct limiter *limiter, uint64_t key, int64_t now_ms)
{
    refill(limiter, key, now_ms)->tokens += 1;
}

unsigned int limiter_wait_s(struct limiter *limiter, uint64_t key, int64_t now_ms)
{
    double missing = 1 - refill(limiter, key, now_ms)->tokens;
    double seconds = missing > 0 ? missing / limiter->rate : 0;

    return seconds < 1 ? 1 : (unsigned int)seconds + (seconds > (unsigned int)seconds);
}
