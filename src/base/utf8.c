/* Theory of operation: the lead byte gives the length and the range of the second byte, which is
 * where overlong forms, surrogates and too large values show; the rest are 80..BF. */
#include "base/utf8.h"

#include "base/cleanup.h"

#include <string.h>

static const struct {
    unsigned char first, last;
    unsigned char second_min, second_max;
    unsigned char length;
} leads[] = {
    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Bytes of the longest valid beginning; *ret_wanted is what the lead byte asks for, 0: no lead. */
static size_t match(const unsigned char *text, size_t length, size_t *ret_wanted)
{
    *ret_wanted = 0;
    for (size_t i = 0; length > 0 && i < ELEMENTS(leads); i++) {
        size_t n = 1;
        if (text[0] < leads[i].first || text[0] > leads[i].last)
            continue;
        *ret_wanted = leads[i].length;
        if (leads[i].length > 1 && length > 1 &&
            (text[1] < leads[i].second_min || text[1] > leads[i].second_max))
            return n;
        while (n < leads[i].length && n < length && (text[n] & 0xc0) == 0x80)
            n++;
        return n;
    }
    return 0;
}

size_t utf8_sequence(const char *text, size_t length)
{
    size_t wanted;
    size_t n = match((const unsigned char *)text, length, &wanted);

    return wanted > 0 && n == wanted ? n : 0;
}

bool utf8_valid(const char *text, size_t length)
{
    for (size_t n; length > 0; text += n, length -= n)
        if ((n = utf8_sequence(text, length)) == 0)
            return false;
    return true;
}

char *utf8_repair(const char *text, size_t length, size_t *ret_length)
{
    char *copy = malloc(length * strlen(UTF8_REPLACEMENT) + 1);
    size_t used = 0;

    if (!copy)
        return NULL;
    while (length > 0) {
        size_t n = utf8_sequence(text, length);
        size_t taken = n ? n : 1;
        const char *source = n ? text : UTF8_REPLACEMENT;
        n = n ? n : strlen(UTF8_REPLACEMENT);
        memcpy(copy + used, source, n);
        used += n;
        text += taken;
        length -= taken;
    }
    copy[used] = '\0';
    *ret_length = used;
    return copy;
}

size_t utf8_incomplete_tail(const char *text, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        size_t wanted;
        size_t n = match((const unsigned char *)text + length - back, back, &wanted);
        if (wanted > 1)
            return n == back && n < wanted ? back : 0;
    }
    return 0;
}
