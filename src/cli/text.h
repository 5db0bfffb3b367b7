/* Text for people: sizes, times, suggestions, escaping. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "0 B", "1.5 KiB", "512 MiB" */
void text_size(int64_t bytes, char *buffer, size_t size);

/* "3s", "5m", "2h", "4d" */
void text_age(int64_t ms, char *buffer, size_t size);

/* Percent-encodes all but unreserved characters (and '/' with `keep_slash`); NULL: no memory. */
char *text_url_escape(const char *text, bool keep_slash);

/* A copy in which control characters, which a sandbox could use to drive the reader's terminal, are
 * question marks; NULL: no memory. */
char *text_printable(const char *text);

/* Columns that the UTF-8 text takes on a terminal, a character counted as one. */
size_t text_width(const char *text);

/* Number of single-character edits and swaps of neighbours that lead from one word to the other,
 * or SIZE_MAX when either is longer than 32 bytes. */
size_t text_distance(const char *from, const char *to);

/* The number of the signal named "SIGTERM", or 0. */
int text_signal_number(const char *name);
