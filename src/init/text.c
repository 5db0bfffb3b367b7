/* Theory of operation: see text.h. Cleaning only ever shortens, so it works in place. */
#include "init/text.h"

#include <stdint.h>
#include <string.h>

/* Length of the escape sequence at the start of `text`; the rest if it is cut off. */
static size_t escape_length(const char *text, size_t length)
{
    size_t i = 2;

    if (length < 2)
        return length;
    if (text[1] == '[') {
        while (i < length && !(text[i] >= 0x40 && text[i] <= 0x7e))
            i++;
        return i < length ? i + 1 : length;
    }
    if (text[1] != ']')
        return 2;
    for (; i < length; i++) {
        if (text[i] == '\a')
            return i + 1;
        if (text[i] == '\033')
            return i + 1 < length && text[i + 1] == '\\' ? i + 2 : i;
    }
    return length;
}

/* Length of the valid UTF-8 character at the start, 0 if there is none. */
static size_t utf8_length(const unsigned char *text, size_t length)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t min;
    } forms[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    size_t n = 0;

    while (n < 4 && (text[0] & forms[n].mask) != forms[n].lead)
        n++;
    if (n == 4 || n >= length)
        return 0;
    uint32_t code = text[0] & (unsigned char)~forms[n].mask;
    for (size_t i = 1; i <= n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    if (code < forms[n].min || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    return n + 1;
}

static size_t clean_one(char *out, const char *text, size_t length, size_t *ret_used)
{
    unsigned char c = (unsigned char)text[0];
    size_t n = utf8_length((const unsigned char *)text, length);

    *ret_used = 1;
    if (c == '\t' || n == 0) {
        *out = c == '\t' ? ' ' : '?';
        return 1;
    }
    if (c == '\033') {
        *ret_used = escape_length(text, length);
        return 0;
    }
    *ret_used = n;
    if ((c < 0x20 && c != '\n') || c == 0x7f || (c == 0xc2 && (unsigned char)text[1] < 0xa0))
        return 0;
    memmove(out, text, n);
    return n;
}

size_t text_clean(char *text, size_t length)
{
    size_t out = 0, used;

    for (size_t i = 0; i < length; i += used)
        out += clean_one(text + out, text + i, length - i, &used);
    return out;
}

/* Cuts a line that is longer than `max` at its front, between characters. */
static const char *clip_front(const char *line, size_t *length, size_t max)
{
    size_t cut = *length > max ? *length - max : 0;

    while (cut < *length && ((unsigned char)line[cut] & 0xc0) == 0x80)
        cut++;
    *length -= cut;
    return line + cut;
}

json_t *text_last_lines(const char *text, size_t length, size_t max_lines, size_t max_bytes)
{
    json_t *lines = json_array();

    while (lines && length > 0 && json_array_size(lines) < max_lines && max_bytes > 0) {
        const char *newline = memrchr(text, '\n', length);
        const char *line = newline ? newline + 1 : text;
        size_t size = length - (size_t)(line - text);
        length = newline ? (size_t)(newline - text) : 0;
        if (size == 0)
            continue;
        size_t left = size < max_bytes ? max_bytes - size : 0;
        line = clip_front(line, &size, max_bytes);
        json_array_insert_new(lines, 0, json_stringn(line, size));
        max_bytes = left;
    }
    return lines;
}
