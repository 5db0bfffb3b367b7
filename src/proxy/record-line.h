/* Text of strangers as JSON strings of a bounded length, for the lines of the access log. Whatever
 * bytes come, what is written is valid UTF-8 and one line: invalid sequences become U+FFFD, control
 * characters escapes. Preview tokens are left out, wherever they stand. Takes no memory: jansson
 * would take some for each value of each request. */
#pragma once

#include "proxy/host.h"

#define RECORD_MASK "***" /* stands for a token */

/* Text that is built up in memory of the caller's. */
struct record_line {
    char *data;
    size_t size, length;
};

/* Appends all of it, or nothing where there is no room. */
void record_line_add(struct record_line *line, struct text text);
void record_line_number(struct record_line *line, uint64_t number);
/* Microseconds as milliseconds with three decimals. */
void record_line_ms(struct record_line *line, uint64_t us);

/* Appends ,"NAME":"VALUE", the value in at most `most` bytes (at least 8): one of more than three
 * less is cut between two characters and ends with U+2026; without data it is null. A token is what
 * follows `auracode_token=`, also with the sign in percent encoding, up to the next parameter, and
 * anything that looks like one. */
void record_line_member(struct record_line *line, struct text name, struct text value, size_t most);
