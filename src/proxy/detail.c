/* Theory of operation: see detail.h. */
#include "proxy/detail.h"

#include <string.h>

/* Past a terminal's escape sequence, which colours a log and would only clutter a page. */
static const char *skip_escape(const char *text)
{
    if (*++text != '[')
        return text;
    for (text++; *text >= 0x20 && *text < 0x40; text++)
        ;
    return *text ? text + 1 : text;
}

void detail_text(char *target, size_t size, const json_t *value)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    size_t at = 0;

    while (*text && at + 1 < size) {
        if (*text == '\x1b') {
            text = skip_escape(text);
            continue;
        }
        bool control = (unsigned char)*text < 0x20 && *text != '\t';
        target[at++] = control ? ' ' : *text;
        text++;
    }
    target[at] = '\0';
}

void detail_lines(struct detail *detail, const json_t *lines)
{
    size_t at = 0, i;
    json_t *line;

    detail->lines[0] = '\0';
    json_array_foreach(lines, i, line)
    {
        size_t room = sizeof(detail->lines) - at;
        if (room < 3 || !json_is_string(line))
            break;
        detail_text(detail->lines + at, room - 1, line);
        at += strlen(detail->lines + at);
        detail->lines[at++] = '\n';
        detail->lines[at] = '\0';
    }
}
