/* Theory of operation: see ring.h. Positions are absolute and only taken modulo the capacity to
 * address memory, so "was this overwritten" is one comparison. The memory starts small, because
 * most commands say little, and doubles until the limit; from then on records are dropped at the
 * front. */
#include "init/ring.h"

#include "init/process.h"
#include "init/text.h"

#include "base/cleanup.h"
#include "base/protocol.h"

#include <errno.h>
#include <string.h>

#define RING_MIN 4096u

struct header {
    uint32_t channel;
    uint32_t length;
};

struct ring {
    unsigned char *data;
    size_t capacity, max;
    uint64_t raw_first, raw_next;
    int64_t first, next;
    struct ring_cursor *cursors;
};

struct ring *ring_new(size_t max_bytes)
{
    struct ring *ring = calloc(1, sizeof(*ring));

    if (ring)
        ring->max = max_bytes;
    return ring;
}

void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    while (ring->cursors)
        ring_cursor_close(ring->cursors);
    free(ring->data);
    free(ring);
}

int64_t ring_first(const struct ring *ring)
{
    return ring->first;
}

int64_t ring_next(const struct ring *ring)
{
    return ring->next;
}

static size_t until_wrap(size_t capacity, uint64_t position, size_t length)
{
    size_t room = capacity - (size_t)(position % capacity);

    return room < length ? room : length;
}

static void copy_in(unsigned char *memory, size_t capacity, uint64_t position, const void *data,
                    size_t length)
{
    size_t head = until_wrap(capacity, position, length);

    memcpy(memory + position % capacity, data, head);
    memcpy(memory, (const unsigned char *)data + head, length - head);
}

static void copy_out(const struct ring *ring, uint64_t position, void *buffer, size_t length)
{
    size_t head = until_wrap(ring->capacity, position, length);

    memcpy(buffer, ring->data + position % ring->capacity, head);
    memcpy((unsigned char *)buffer + head, ring->data, length - head);
}

static struct header header_at(const struct ring *ring, uint64_t raw)
{
    struct header header;

    copy_out(ring, raw, &header, sizeof(header));
    return header;
}

static int grow(struct ring *ring, size_t capacity)
{
    unsigned char *data = malloc(capacity);

    if (!data)
        return -ENOMEM;
    for (uint64_t at = ring->raw_first; at < ring->raw_next;) {
        size_t part = until_wrap(ring->capacity, at, (size_t)(ring->raw_next - at));
        copy_in(data, capacity, at, ring->data + at % ring->capacity, part);
        at += part;
    }
    free(ring->data);
    ring->data = data;
    ring->capacity = capacity;
    return 0;
}

static void drop_first(struct ring *ring)
{
    struct header header = header_at(ring, ring->raw_first);

    ring->raw_first += sizeof(header) + header.length;
    ring->first += header.length;
}

static int make_room(struct ring *ring, size_t need)
{
    size_t wanted = ring->capacity ? ring->capacity : RING_MIN;
    size_t used = (size_t)(ring->raw_next - ring->raw_first);

    while (wanted < used + need && wanted < ring->max)
        wanted = wanted * 2 < ring->max ? wanted * 2 : ring->max;
    if (wanted > ring->capacity && grow(ring, wanted) < 0 && ring->capacity < need)
        return -ENOMEM;
    if (ring->capacity < need)
        return -EMSGSIZE;
    while (ring->raw_next - ring->raw_first + need > ring->capacity)
        drop_first(ring);
    return 0;
}

static void wake_all(struct ring *ring)
{
    struct ring_cursor *next;

    for (struct ring_cursor *cursor = ring->cursors; cursor; cursor = next) {
        next = cursor->next;
        if (cursor->wake)
            cursor->wake(cursor);
    }
}

int ring_append(struct ring *ring, unsigned int channel, const void *data, size_t length)
{
    struct header header = {.channel = channel, .length = (uint32_t)length};
    int r = make_room(ring, sizeof(header) + length);

    if (r < 0)
        return r;
    copy_in(ring->data, ring->capacity, ring->raw_next, &header, sizeof(header));
    copy_in(ring->data, ring->capacity, ring->raw_next + sizeof(header), data, length);
    ring->raw_next += sizeof(header) + length;
    ring->next += (int64_t)length;
    wake_all(ring);
    return 0;
}

int ring_mark_restart(struct ring *ring)
{
    return ring_append(ring, STREAM_CONTROL, "", 0);
}

static struct ring_place place_at(const struct ring *ring, int64_t since)
{
    struct ring_place place = {.raw = ring->raw_first, .offset = ring->first};

    if (since < 0 || since >= ring->next)
        return (struct ring_place){.raw = ring->raw_next, .offset = ring->next};
    while (place.offset < since) {
        struct header header = header_at(ring, place.raw);
        if (place.offset + header.length > since) {
            place.skip = (size_t)(since - place.offset);
            place.offset = since;
        } else {
            place.raw += sizeof(header) + header.length;
            place.offset += header.length;
        }
    }
    return place;
}

void ring_cursor_open(struct ring_cursor *cursor, struct ring *ring, int64_t since)
{
    cursor->ring = ring;
    cursor->place = place_at(ring, since);
    cursor->previous = NULL;
    cursor->next = ring->cursors;
    if (cursor->next)
        cursor->next->previous = cursor;
    ring->cursors = cursor;
}

void ring_cursor_close(struct ring_cursor *cursor)
{
    if (!cursor->ring)
        return;
    if (cursor->previous)
        cursor->previous->next = cursor->next;
    else
        cursor->ring->cursors = cursor->next;
    if (cursor->next)
        cursor->next->previous = cursor->previous;
    cursor->ring = NULL;
    cursor->next = cursor->previous = NULL;
}

int64_t ring_cursor_gap(struct ring_cursor *cursor)
{
    const struct ring *ring = cursor->ring;

    if (cursor->place.raw >= ring->raw_first)
        return 0;
    int64_t lost = ring->first - cursor->place.offset;
    cursor->place = (struct ring_place){.raw = ring->raw_first, .offset = ring->first};
    return lost;
}

static size_t take(const struct ring *ring, struct ring_place *place, struct header header,
                   unsigned char *buffer, size_t size)
{
    size_t left = header.length - place->skip;
    size_t part = left < size ? left : size;

    copy_out(ring, place->raw + sizeof(header) + place->skip, buffer, part);
    place->offset += (int64_t)part;
    place->skip += part;
    if (place->skip == header.length) {
        place->raw += sizeof(header) + header.length;
        place->skip = 0;
    }
    return part;
}

bool ring_cursor_peek(const struct ring_cursor *cursor, unsigned int *ret_channel, void *buffer,
                      size_t size, size_t *ret_length, struct ring_place *ret_after)
{
    const struct ring *ring = cursor->ring;
    struct ring_place place = cursor->place;
    size_t length = 0;

    if (place.raw >= ring->raw_next)
        return false;
    struct header first = header_at(ring, place.raw);
    while (length < size && place.raw < ring->raw_next) {
        struct header header = header_at(ring, place.raw);
        if (header.channel != first.channel)
            break;
        length += take(ring, &place, header, (unsigned char *)buffer + length, size - length);
        if (first.channel == STREAM_CONTROL)
            break;
    }
    *ret_channel = first.channel;
    *ret_length = length;
    *ret_after = place;
    return true;
}

uint64_t ring_cursor_behind(const struct ring_cursor *cursor)
{
    return cursor->ring->raw_next - cursor->place.raw;
}

json_t *ring_last_lines(const struct ring *ring, size_t max_lines, size_t max_bytes)
{
    /* Escapes and control characters go, so more is read than is wanted. */
    size_t size = 4 * max_bytes, length = 0, part;
    int64_t since = ring->next - (int64_t)size;
    struct ring_cursor cursor = {.ring = (struct ring *)ring};
    cleanup_free char *text = malloc(size + 1);
    unsigned int channel;

    if (!text)
        return NULL;
    cursor.place = place_at(ring, since > ring->first ? since : ring->first);
    while (length < size &&
           ring_cursor_peek(&cursor, &channel, text + length, size - length, &part, &cursor.place))
        length += part;
    return text_last_lines(text, text_clean(text, length), max_lines, max_bytes);
}
