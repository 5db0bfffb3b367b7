/* Theory of operation: see cache.h. */
#include "resolver/cache.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

uint32_t cache_ttl(const struct cache_entry *entry, int64_t now_ms)
{
    int64_t left = (entry->expires_ms - now_ms + 999) / 1000;

    return left < 1 ? 1 : (uint32_t)left;
}

static void drop(struct cache *cache, size_t i)
{
    answer_clear(&cache->entries[i]->answer);
    free(cache->entries[i]);
    cache->entries[i] = cache->entries[--cache->count];
}

struct cache_entry *cache_find(struct cache *cache, const char *name, uint16_t type, int64_t now_ms)
{
    for (size_t i = 0; i < cache->count; i++) {
        struct cache_entry *entry = cache->entries[i];
        if (entry->type != type || strcasecmp(entry->name, name) != 0)
            continue;
        if (entry->expires_ms > now_ms)
            return entry;
        drop(cache, i);
        break;
    }
    return NULL;
}

static void make_room(struct cache *cache)
{
    size_t first = 0;

    if (cache->count < CACHE_MAX)
        return;
    for (size_t i = 1; i < cache->count; i++)
        if (cache->entries[i]->expires_ms < cache->entries[first]->expires_ms)
            first = i;
    drop(cache, first);
}

struct cache_entry *cache_add(struct cache *cache, const struct question *question,
                              struct answer *answer, int64_t now_ms)
{
    struct cache_entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    for (size_t i = 0; i < cache->count; i++)
        if (cache->entries[i]->type == question->type &&
            strcasecmp(cache->entries[i]->name, question->name) == 0) {
            drop(cache, i);
            break;
        }
    make_room(cache);
    memcpy(entry->name, question->name, sizeof(entry->name));
    entry->type = question->type;
    entry->answer = *answer;
    entry->expires_ms = now_ms + (int64_t)answer->ttl * 1000;
    answer->records = NULL;
    cache->entries[cache->count++] = entry;
    return entry;
}

void cache_clear(struct cache *cache)
{
    while (cache->count > 0)
        drop(cache, 0);
}
