/* Theory of operation: see buffer.h. The pool is a stack, so the buffer used last, whose first
 * pages are in the cache, is used next. */
#include "proxy/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void buffer_pool_free(struct buffer_pool *pool)
{
    while (pool->count > 0)
        free(pool->free[--pool->count]);
}

int buffer_hold(struct buffer_pool *pool, struct buffer *buffer)
{
    if (buffer->data)
        return 0;
    buffer->start = buffer->length = 0;
    buffer->data = pool->count > 0 ? pool->free[--pool->count] : malloc(BUFFER_SIZE);
    return buffer->data ? 0 : -ENOMEM;
}

void buffer_drop(struct buffer_pool *pool, struct buffer *buffer)
{
    if (!buffer->data)
        return;
    if (pool->count < BUFFERS_FREE_MAX)
        pool->free[pool->count++] = buffer->data;
    else
        free(buffer->data);
    *buffer = (struct buffer){.data = NULL};
}

void buffer_trim(struct buffer_pool *pool, struct buffer *buffer)
{
    if (buffer->length == 0)
        buffer_drop(pool, buffer);
}

size_t buffer_room(struct buffer *buffer)
{
    if (buffer->start > 0) {
        memmove(buffer->data, buffer_head(buffer), buffer->length);
        buffer->start = 0;
    }
    return BUFFER_SIZE - buffer->length;
}

void buffer_take(struct buffer *buffer, size_t n)
{
    buffer->length -= (uint32_t)n;
    buffer->start = buffer->length > 0 ? buffer->start + (uint32_t)n : 0;
}

static size_t room_behind(const struct buffer *buffer)
{
    return BUFFER_SIZE - buffer->start - buffer->length;
}

int buffer_add(struct buffer *buffer, const void *data, size_t length)
{
    if (room_behind(buffer) < length && buffer_room(buffer) < length)
        return -ENOSPC;
    memcpy(buffer_tail(buffer), data, length);
    buffer->length += (uint32_t)length;
    return 0;
}

int buffer_join(struct buffer *buffer, const struct text *texts, size_t n)
{
    size_t length = 0;

    for (size_t i = 0; i < n; i++)
        length += texts[i].length;
    if (room_behind(buffer) < length && buffer_room(buffer) < length)
        return -ENOSPC;
    char *at = buffer_tail(buffer);
    for (size_t i = 0; i < n; i++)
        at = texts[i].length > 0 ? mempcpy(at, texts[i].data, texts[i].length) : at;
    buffer->length += (uint32_t)length;
    return 0;
}

int buffer_print(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    size_t room = room_behind(buffer);

    va_start(arguments, format);
    int n = vsnprintf(buffer_tail(buffer), room, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t)n >= room)
        return -ENOSPC;
    buffer->length += (uint32_t)n;
    return 0;
}

int buffer_add_date(struct buffer *buffer)
{
    static _Thread_local char text[40];
    static _Thread_local time_t of;
    time_t now = time(NULL);
    struct tm tm;

    if (now != of && gmtime_r(&now, &tm)) {
        strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        of = now;
    }
    return buffer_add(buffer, text, strlen(text));
}
