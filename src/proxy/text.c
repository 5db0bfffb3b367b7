/* See text.h. Numbers are written by hand since printf's machinery costs more than all else that is
 * done to a small request. */
#include "proxy/text.h"

#include <strings.h>

bool text_is_case(struct text a, struct text b)
{
    return a.length == b.length && strncasecmp(a.data, b.data, a.length) == 0;
}

bool text_is_space(char c)
{
    return c == ' ' || c == '\t';
}

struct text text_trim(struct text text)
{
    while (text.length > 0 && text_is_space(text.data[0]))
        text = (struct text){text.data + 1, text.length - 1};
    while (text.length > 0 && text_is_space(text.data[text.length - 1]))
        text.length--;
    return text;
}

struct text text_number(unsigned long long number, char memory[TEXT_NUMBER_MAX])
{
    size_t at = TEXT_NUMBER_MAX;

    do {
        memory[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return (struct text){memory + at, TEXT_NUMBER_MAX - at};
}
