/* Theory of operation: see collect.h. The head grows as needed; the tail is allocated whole when
 * the head is full, which most commands never reach. */
#include "api/collect.h"

#include "base/cleanup.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void collect_init(struct collect *collect, size_t max)
{
    *collect = (struct collect){.half = max / 2};
}

void collect_free(struct collect *collect)
{
    free(collect->head);
    free(collect->tail);
    *collect = (struct collect){.half = collect->half};
}

static int add_head(struct collect *collect, const char *data, size_t length)
{
    size_t needed = collect->head_length + length;

    if (needed > collect->head_size) {
        size_t size = needed * 2 < collect->half ? needed * 2 : collect->half;
        char *larger = realloc(collect->head, size);
        if (!larger)
            return -ENOMEM;
        collect->head = larger;
        collect->head_size = size;
    }
    memcpy(collect->head + collect->head_length, data, length);
    collect->head_length = needed;
    return 0;
}

static int add_tail(struct collect *collect, const char *data, size_t length)
{
    if (!collect->tail && !(collect->tail = malloc(collect->half)))
        return -ENOMEM;
    if (length > collect->half) {
        data += length - collect->half;
        length = collect->half;
    }
    size_t first = collect->half - collect->tail_next;
    first = first < length ? first : length;
    memcpy(collect->tail + collect->tail_next, data, first);
    memcpy(collect->tail, data + first, length - first);
    collect->tail_next = (collect->tail_next + length) % collect->half;
    collect->tail_length += length;
    if (collect->tail_length > collect->half)
        collect->tail_length = collect->half;
    return 0;
}

int collect_add(struct collect *collect, const char *data, size_t length)
{
    size_t room = collect->half - collect->head_length;
    size_t first = length < room ? length : room;
    int r = first > 0 ? add_head(collect, data, first) : 0;

    if (r == 0 && length > first)
        r = add_tail(collect, data + first, length - first);
    if (r == 0)
        collect->total += length;
    return r;
}

uint64_t collect_omitted(const struct collect *collect)
{
    return collect->total - collect->head_length - collect->tail_length;
}

static size_t copy_tail(const struct collect *collect, char *target)
{
    size_t start = (collect->tail_next + collect->half - collect->tail_length) % collect->half;
    size_t first = collect->half - start;

    first = first < collect->tail_length ? first : collect->tail_length;
    memcpy(target, collect->tail + start, first);
    memcpy(target + first, collect->tail, collect->tail_length - first);
    return collect->tail_length;
}

json_t *collect_text(const struct collect *collect)
{
    char mark[80] = "";
    uint64_t omitted = collect_omitted(collect);
    size_t length = 0;

    if (omitted > 0)
        snprintf(mark, sizeof(mark), "\n[... %llu bytes left out ...]\n",
                 (unsigned long long)omitted);
    cleanup_free char *raw = malloc(collect->head_length + collect->tail_length + sizeof(mark));
    if (!raw)
        return NULL;
    if (collect->head_length > 0)
        memcpy(raw, collect->head, collect->head_length);
    length = collect->head_length;
    for (const char *c = mark; *c; c++)
        raw[length++] = *c;
    if (collect->tail_length > 0)
        length += copy_tail(collect, raw + length);
    if (utf8_valid(raw, length))
        return json_stringn_nocheck(raw, length);
    cleanup_free char *text = utf8_repair(raw, length, &length);
    return text ? json_stringn_nocheck(text, length) : NULL;
}
