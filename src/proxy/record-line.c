/* Theory of operation: see record-line.h. The value is gone through once; at each place is either a
 * token, which the mask stands for, or one character, which is written plainly or as an escape. */
#include "proxy/record-line.h"

#include "base/preview-token.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ELLIPSIS     "\xe2\x80\xa6"
#define SPELLED_MAX  6u  /* bytes of one character: \u00XX */
#define LOOKS_LENGTH 48u /* of what follows pt_ in a text that is taken for a token */

void record_line_add(struct record_line *line, struct text text)
{
    if (text.length > line->size - line->length)
        return;
    memcpy(line->data + line->length, text.data, text.length);
    line->length += text.length;
}

void record_line_print(struct record_line *line, const char *format, ...)
{
    size_t room = line->size - line->length;
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(line->data + line->length, room, format, arguments);
    va_end(arguments);
    if (n >= 0 && (size_t)n < room)
        line->length += (size_t)n;
}

static bool starts(struct text text, struct text with)
{
    return text.length >= with.length && memcmp(text.data, with.data, with.length) == 0;
}

static struct text behind(struct text text, size_t count)
{
    return (struct text){text.data + count, text.length - count};
}

/* Bytes of the parameter's name and sign; 0: it does not start here. */
static size_t parameter_length(struct text text)
{
    static const struct text name = TEXT(PREVIEW_TOKEN_QUERY);

    if (!starts(text, name))
        return 0;
    struct text sign = behind(text, name.length);
    if (sign.length > 0 && sign.data[0] == '=')
        return name.length + 1;
    return sign.length >= 3 && strncasecmp(sign.data, "%3d", 3) == 0 ? name.length + 3 : 0;
}

static size_t value_length(struct text text)
{
    size_t n = 0;

    while (n < text.length && !memchr("&;#\" ", text.data[n], 5))
        n++;
    return n;
}

static bool is_token_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Bytes of a token that starts here; 0: none does. */
static size_t token_length(struct text text)
{
    static const struct text prefix = TEXT(PREVIEW_TOKEN_PREFIX);
    size_t n = prefix.length;

    if (!starts(text, prefix))
        return 0;
    while (n < text.length && is_token_character(text.data[n]))
        n++;
    return n - prefix.length >= LOOKS_LENGTH ? n : 0;
}

/* How JSON spells the character that the text starts with. Returns its bytes in the text. */
static size_t spell(struct text text, struct text *ret_spelled, char buffer[SPELLED_MAX + 1])
{
    size_t n = utf8_sequence(text.data, text.length);
    unsigned char c = (unsigned char)text.data[0];

    *ret_spelled = (struct text){text.data, n};
    if (n == 0)
        *ret_spelled = TEXT(UTF8_REPLACEMENT);
    else if (c == '"' || c == '\\')
        *ret_spelled = c == '"' ? TEXT("\\\"") : TEXT("\\\\");
    else if (c < ' ' || c == 0x7f)
        *ret_spelled =
            (struct text){buffer, (size_t)snprintf(buffer, SPELLED_MAX + 1, "\\u%04x", c)};
    return n > 0 ? n : 1;
}

/* The next piece of output. Returns the bytes of the text that it stands for. */
static size_t next_piece(struct text text, struct text *ret_piece, char buffer[SPELLED_MAX + 1])
{
    size_t parameter = parameter_length(text);
    size_t token =
        parameter > 0 ? parameter + value_length(behind(text, parameter)) : token_length(text);

    if (token == 0)
        return spell(text, ret_piece, buffer);
    *ret_piece = parameter > 0 ? TEXT(PREVIEW_TOKEN_QUERY "=" RECORD_MASK) : TEXT(RECORD_MASK);
    return token;
}

static void add_value(struct record_line *line, struct text value, size_t most)
{
    size_t room = most - strlen(ELLIPSIS), used = 0;
    char buffer[SPELLED_MAX + 1];
    struct text piece;

    while (value.length > 0) {
        size_t n = next_piece(value, &piece, buffer);
        if (used + piece.length > room) {
            record_line_add(line, TEXT(ELLIPSIS));
            return;
        }
        record_line_add(line, piece);
        used += piece.length;
        value = behind(value, n);
    }
}

void record_line_member(struct record_line *line, const char *name, struct text value, size_t most)
{
    record_line_print(line, ",\"%s\":", name);
    if (!value.data) {
        record_line_add(line, TEXT("null"));
        return;
    }
    record_line_add(line, TEXT("\""));
    add_value(line, value, most);
    record_line_add(line, TEXT("\""));
}
