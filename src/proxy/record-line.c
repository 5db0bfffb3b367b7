/* Theory of operation: see record-line.h. The value is gone through once; at each place are either
 * characters that stand for themselves, a token, which the mask stands for, or one character that
 * is written as it is or as an escape. Nothing is printed by format, since there is a line a
 * request. */
#include "proxy/record-line.h"

#include "base/preview-token.h"
#include "base/utf8.h"

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

void record_line_number(struct record_line *line, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    record_line_add(line, (struct text){digits + at, sizeof(digits) - at});
}

void record_line_ms(struct record_line *line, uint64_t us)
{
    unsigned int rest = (unsigned int)(us % 1000);
    char decimals[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
                       (char)('0' + rest % 10)};

    record_line_number(line, us / 1000);
    record_line_add(line, (struct text){decimals, sizeof(decimals)});
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

/* Characters at the front that stand for themselves and begin no token. */
static size_t plain_length(struct text text)
{
    size_t n = 0;

    while (n < text.length && text.data[n] >= ' ' && text.data[n] < 0x7f && text.data[n] != '"' &&
           text.data[n] != '\\' && text.data[n] != PREVIEW_TOKEN_QUERY[0] &&
           text.data[n] != PREVIEW_TOKEN_PREFIX[0])
        n++;
    return n;
}

static void add_value(struct record_line *line, struct text value, size_t most)
{
    size_t room = most - strlen(ELLIPSIS);
    char buffer[SPELLED_MAX + 1];
    struct text piece;

    while (value.length > 0) {
        size_t plain = plain_length(value);
        piece = (struct text){value.data, plain < room ? plain : room};
        size_t n = plain > 0 ? piece.length : next_piece(value, &piece, buffer);
        if (n == 0 || piece.length > room) {
            record_line_add(line, TEXT(ELLIPSIS));
            return;
        }
        record_line_add(line, piece);
        room -= piece.length;
        value = behind(value, n);
    }
}

void record_line_member(struct record_line *line, struct text name, struct text value, size_t most)
{
    record_line_add(line, TEXT(",\""));
    record_line_add(line, name);
    record_line_add(line, TEXT("\":"));
    if (!value.data) {
        record_line_add(line, TEXT("null"));
        return;
    }
    record_line_add(line, TEXT("\""));
    add_value(line, value, most);
    record_line_add(line, TEXT("\""));
}
