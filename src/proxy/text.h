/* Spans of text: what the proxy reads and writes is never copied just to be terminated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A span of text that is not terminated. */
struct text {
    const char *data;
    size_t length;
};

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

static inline bool text_is(struct text a, struct text b)
{
    return a.length == b.length && __builtin_memcmp(a.data, b.data, a.length) == 0;
}

bool text_is_case(struct text a, struct text b);

/* Space or tab; without those around it. */
bool text_is_space(char c);
struct text text_trim(struct text text);

/* Of a string that is terminated. */
static inline struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

#define TEXT_NUMBER_MAX 20u /* digits of any number */

/* The number in decimal; the text lies in `memory`. */
struct text text_number(unsigned long long number, char memory[TEXT_NUMBER_MAX]);
