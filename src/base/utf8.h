/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define UTF8_REPLACEMENT "\xef\xbf\xbd"

/* Length (1..4) of the valid sequence that `text` starts with; 0 when it is not valid, or is cut
 * off by `length`. */
size_t utf8_sequence(const char *text, size_t length);

bool utf8_valid(const char *text, size_t length);

/* A copy with every invalid byte replaced by U+FFFD, NUL-terminated; NULL when out of memory. */
char *utf8_repair(const char *text, size_t length, size_t *ret_length);

/* How many bytes at the end of `text` are the start of a sequence that may still be completed. */
size_t utf8_incomplete_tail(const char *text, size_t length);
