/* Making what a program printed fit for a JSON string that people read. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* Removes ANSI escape sequences and control characters except newlines in place; a tab becomes a
 * space and a byte that is no UTF-8 a question mark. Returns the new length. */
size_t text_clean(char *text, size_t length);

/* The last lines that together fit; empty lines are left out. New reference or NULL. */
json_t *text_last_lines(const char *text, size_t length, size_t max_lines, size_t max_bytes);
