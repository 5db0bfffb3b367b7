/* Decoder of the chunked transfer coding, strict: CR LF only, at most 15 digits, bounded lines. It
 * hands out spans of the input and keeps no bytes itself. */
#pragma once

#include "proxy/host.h"

#include <stddef.h>
#include <stdint.h>

struct chunked {
    uint8_t state;
    uint8_t digits;
    uint16_t line; /* bytes of the present size line */
    uint64_t left; /* of the present chunk */
};

enum chunked_event {
    CHUNKED_MORE,     /* everything usable was taken; needs more input behind what is left */
    CHUNKED_DATA,     /* a piece of the body */
    CHUNKED_TRAILERS, /* the end, with checked trailers (their empty line included) */
    CHUNKED_END,      /* the end, without trailers */
};

/* Reads from the front of `input`; the next call must pass what follows `*ret_taken` bytes.
 * `ret_piece` is set for DATA and TRAILERS. Returns an enum chunked_event or -EPROTO. */
int chunked_step(struct chunked *chunked, struct text input, size_t *ret_taken,
                 struct text *ret_piece);
