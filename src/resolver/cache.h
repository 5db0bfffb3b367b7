/* The answers that one sandbox has got, until they expire: a sandbox's own, so that none learns
 * from the time of an answer what another has asked. */
#pragma once

#include "resolver/packet.h"

#define CACHE_MAX 256u

struct cache_entry {
    char name[DOMAIN_MAX + 1];
    uint16_t type;
    struct answer answer;
    int64_t expires_ms;       /* CLOCK_MONOTONIC */
    int64_t granted_until_ms; /* its addresses are open that long; 0: never asked to be */
};

struct cache {
    struct cache_entry *entries[CACHE_MAX];
    size_t count;
};

/* Seconds that an entry has left, at least 1; rounded up. */
uint32_t cache_ttl(const struct cache_entry *entry, int64_t now_ms);

/* NULL: not there or expired. */
struct cache_entry *cache_find(struct cache *cache, const char *name, uint16_t type,
                               int64_t now_ms);

/* Takes the answer; the entry that expires first makes room. NULL when out of memory. */
struct cache_entry *cache_add(struct cache *cache, const struct question *question,
                              struct answer *answer, int64_t now_ms);
void cache_clear(struct cache *cache);
