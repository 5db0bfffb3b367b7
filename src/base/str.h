/* Strict conversions and bounded strings. Every parser refuses empty input, white space, signs
 * where none belong, trailing text and overflow: "1", "01x", " 1" and "+1" are never guessed at. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only, in [min, max]. -EINVAL (not a number) or -ERANGE. */
int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

/* Bytes: digits with an optional suffix K, M, G, T or KiB, MiB, GiB, TiB (powers of 1024). */
int parse_size(const char *text, uint64_t *ret_bytes);

/* Decimal fraction such as 0.5, without exponent, in [min, max]. */
int parse_real(const char *text, double min, double max, double *ret_value);

/* true|yes|on|1, false|no|off|0. */
int parse_bool(const char *text, bool *ret_value);

/* printf into fresh memory; NULL when out of memory. */
char *str_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Of a cgroup's file: the number on the line "KEY NUMBER", or with key NULL the number that is all
 * of it. -1: it is not there, or no number (`max`), or more than an int64_t holds. */
int64_t keyed_number(const char *text, const char *key);

/* Of a list separated by commas: how many items it has, empty ones left out, and a copy of item `i`
 * without the white space around it (NULL: there is none, or out of memory). */
size_t str_list_count(const char *list);
char *str_list_item(const char *list, size_t i);

bool str_starts(const char *text, const char *prefix);
static inline bool str_equal(const char *a, const char *b)
{
    return a && b && __builtin_strcmp(a, b) == 0;
}

/* Milliseconds of CLOCK_REALTIME since the epoch / of CLOCK_MONOTONIC; nanoseconds of that. */
int64_t now_realtime_ms(void);
int64_t now_monotonic_ms(void);
int64_t now_monotonic_ns(void);
