/* Byte buffers of one size out of a pool that belongs to one thread. A connection holds one only
 * while it has bytes in it, so an idle connection costs no buffer. */
#pragma once

#include "proxy/limits.h"

#include "proxy/text.h"
#include <stdbool.h>

#include <stddef.h>
#include <stdint.h>

struct buffer_pool {
    char *free[BUFFERS_FREE_MAX];
    size_t count;
};

void buffer_pool_free(struct buffer_pool *pool);

struct buffer {
    char *data; /* NULL: none held; else BUFFER_SIZE bytes */
    uint32_t start, length;
};

static inline char *buffer_head(const struct buffer *buffer)
{
    return buffer->data + buffer->start;
}

/* Makes sure that memory is held; -ENOMEM. */
int buffer_hold(struct buffer_pool *pool, struct buffer *buffer);

/* Gives the memory back when there is nothing in it / in any case. */
void buffer_trim(struct buffer_pool *pool, struct buffer *buffer);
void buffer_drop(struct buffer_pool *pool, struct buffer *buffer);

/* Bytes that can be appended; moves the content to the front when that gives room. */
size_t buffer_room(struct buffer *buffer);
static inline char *buffer_tail(const struct buffer *buffer)
{
    return buffer->data + buffer->start + buffer->length;
}

/* Takes `n` bytes off the front. */
void buffer_take(struct buffer *buffer, size_t n);

/* Appends all or nothing; the buffer must be held. -ENOSPC. */
int buffer_add(struct buffer *buffer, const void *data, size_t length);
int buffer_join(struct buffer *buffer, const struct text *texts, size_t n);
int buffer_print(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The field Date, of now. */
int buffer_add_date(struct buffer *buffer);

#define BUFFER_JOIN(buffer, ...)                                                                   \
    buffer_join((buffer), (const struct text[]){__VA_ARGS__},                                      \
                sizeof((const struct text[]){__VA_ARGS__}) / sizeof(struct text))

#define buffer_literal(buffer, text) buffer_add((buffer), (text), sizeof(text) - 1)
