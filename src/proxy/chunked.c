/* Theory of operation: see chunked.h. Extensions are read over and never passed on: the coding is
 * written anew for the next hop. */
#include "proxy/chunked.h"

#include "proxy/head.h"

#include <errno.h>
#include <string.h>

enum state { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILERS };

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_byte(struct chunked *chunked, char c)
{
    int digit = hex_value(c);

    if (digit >= 0) {
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return ++chunked->digits <= 15 ? SIZE : -EPROTO;
    }
    if (chunked->digits == 0)
        return -EPROTO;
    return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION : -EPROTO;
}

static int extension_byte(char c)
{
    if (c == '\r')
        return SIZE_LF;
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f ? -EPROTO : EXTENSION;
}

/* One byte of what frames the data; returns the next state. */
static int frame_byte(struct chunked *chunked, char c)
{
    switch (chunked->state) {
    case SIZE:
        return size_byte(chunked, c);
    case EXTENSION:
        return extension_byte(c);
    case SIZE_LF:
        return c != '\n' ? -EPROTO : chunked->left > 0 ? DATA : TRAILERS;
    case DATA_CR:
        return c == '\r' ? DATA_LF : -EPROTO;
    default: /* DATA_LF */
        chunked->digits = 0;
        chunked->line = 0;
        return c == '\n' ? SIZE : -EPROTO;
    }
}

static int take_data(struct chunked *chunked, struct text rest, struct text *ret_piece)
{
    size_t n = rest.length < chunked->left ? rest.length : (size_t)chunked->left;

    chunked->left -= n;
    if (chunked->left == 0)
        chunked->state = DATA_CR;
    *ret_piece = (struct text){rest.data, n};
    return CHUNKED_DATA;
}

static int take_trailers(struct text rest, size_t *taken, struct text *ret_piece)
{
    if (rest.length < 2)
        return rest.length == 1 && rest.data[0] == '\n' ? -EPROTO : CHUNKED_MORE;
    if (memcmp(rest.data, "\r\n", 2) == 0) {
        *taken += 2;
        return CHUNKED_END;
    }
    const char *end = memmem(rest.data, rest.length, "\r\n\r\n", 4);
    if (!end)
        return rest.length < TRAILERS_MAX ? CHUNKED_MORE : -EPROTO;
    *ret_piece = (struct text){rest.data, (size_t)(end + 4 - rest.data)};
    *taken += ret_piece->length;
    return ret_piece->length <= TRAILERS_MAX && trailers_check(*ret_piece) == 0 ? CHUNKED_TRAILERS
                                                                                : -EPROTO;
}

int chunked_step(struct chunked *chunked, struct text input, size_t *ret_taken,
                 struct text *ret_piece)
{
    size_t at = 0;
    int r = CHUNKED_MORE;

    while (at < input.length && chunked->state != DATA && chunked->state != TRAILERS) {
        int next = frame_byte(chunked, input.data[at++]);
        if (next < 0 || ++chunked->line > CHUNK_LINE_MAX)
            return -EPROTO;
        chunked->state = (uint8_t)next;
    }
    struct text rest = {input.data + at, input.length - at};
    if (chunked->state == DATA && rest.length > 0) {
        r = take_data(chunked, rest, ret_piece);
        at += ret_piece->length;
    } else if (chunked->state == TRAILERS) {
        r = take_trailers(rest, &at, ret_piece);
    }
    if (r >= 0)
        *ret_taken = at;
    return r;
}
