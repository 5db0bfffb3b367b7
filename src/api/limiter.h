/* Token buckets by key, in a table of fixed size: what one peer or one API key may do a second. The
 * least recently used bucket makes room, so a flood of new keys costs memory nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMITER_BUCKETS 1024u

struct limiter_bucket {
    uint64_t key; /* 0: free */
    int64_t used_ms;
    double tokens;
};

struct limiter {
    double rate;  /* tokens a second */
    double burst; /* tokens at most */
    struct limiter_bucket buckets[LIMITER_BUCKETS];
};

void limiter_init(struct limiter *limiter, double rate, double burst);

/* A key for any bytes; never 0. `seed` keeps strangers from choosing colliding keys. */
uint64_t limiter_key(uint64_t seed, const void *data, size_t length);

/* Takes one token. False when there is none; `now_ms` is CLOCK_MONOTONIC. */
bool limiter_take(struct limiter *limiter, uint64_t key, int64_t now_ms);

/* Gives it back. */
void limiter_give(struct limiter *limiter, uint64_t key, int64_t now_ms);

/* Seconds after which limiter_take has one, at least 1: for Retry-After. */
unsigned int limiter_wait_s(struct limiter *limiter, uint64_t key, int64_t now_ms);
