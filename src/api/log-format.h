/* From the packets of a log stream to what the client reads: the raw bytes, or one JSON object a
 * line: {"offset","channel","text"}, {"gap"}, {"restart"}, {"exit"}. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_format {
    bool lines; /* JSON lines */
    int64_t offset;
    struct {
        char bytes[4]; /* the beginning of a character whose rest is in the next packet */
        size_t length;
    } held[3];
};

/* Fresh memory with what the packet turns into; *ret_text stays NULL when that is nothing.
 * -ENOMEM. */
int log_format(struct log_format *format, unsigned int channel, const char *data, size_t length,
               char **ret_text, size_t *ret_length);
