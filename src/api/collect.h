/* Keeps the beginning and the end of an output of any size in bounded memory. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct collect {
    size_t half; /* bytes kept of the beginning, and as many of the end */
    char *head, *tail;
    size_t head_length, head_size;
    size_t tail_length, tail_next; /* `tail` is a ring once the head is full */
    uint64_t total;
};

/* `max` bytes are kept, an even number. */
void collect_init(struct collect *collect, size_t max);
void collect_free(struct collect *collect);

/* -ENOMEM. */
int collect_add(struct collect *collect, const char *data, size_t length);

/* Bytes left out. */
uint64_t collect_omitted(const struct collect *collect);

/* The text, with a line that says how much was left out in its place, and U+FFFD for what is not
 * UTF-8; a JSON string or NULL when out of memory. */
json_t *collect_text(const struct collect *collect);
