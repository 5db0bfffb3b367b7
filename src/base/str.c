/* Theory of operation: see str.h. */
#include "base/str.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    char *end;

    if (!text || !isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end)
        return -EINVAL;
    if (errno == ERANGE || value < min || value > max)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

static int suffix_shift(const char *suffix)
{
    static const struct {
        const char *name;
        int shift;
    } table[] = {
        {"", 0},  {"K", 10},   {"M", 20},   {"G", 30},   {"T", 40},
        {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40},
    };

    for (size_t i = 0; i < ELEMENTS(table); i++)
        if (strcmp(suffix, table[i].name) == 0)
            return table[i].shift;
    return -EINVAL;
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
    char *end;

    if (!text || !isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    while (*end == ' ')
        end++;
    int shift = suffix_shift(end);
    if (shift < 0)
        return -EINVAL;
    if (errno == ERANGE || value > ((unsigned long long)INT64_MAX >> shift))
        return -ERANGE;
    *ret_bytes = value << shift;
    return 0;
}

int parse_real(const char *text, double min, double max, double *ret_value)
{
    char *end;

    if (!text || !text[0] || strspn(text, "0123456789.") != strlen(text))
        return -EINVAL;
    double value = strtod(text, &end);
    if (*end)
        return -EINVAL;
    if (value < min || value > max)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int parse_bool(const char *text, bool *ret_value)
{
    static const struct {
        const char *name;
        bool value;
    } table[] = {
        {"true", true},   {"yes", true}, {"on", true},   {"1", true},
        {"false", false}, {"no", false}, {"off", false}, {"0", false},
    };

    for (size_t i = 0; text && i < ELEMENTS(table); i++)
        if (strcmp(text, table[i].name) == 0) {
            *ret_value = table[i].value;
            return 0;
        }
    return -EINVAL;
}

char *str_format(const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    int r = vasprintf(&text, format, arguments);
    va_end(arguments);
    return r < 0 ? NULL : text;
}

/* The next item that is not empty, trimmed; the list goes on behind it. Its length is 0 at the end.
 */
static const char *next_item(const char **list, size_t *ret_length)
{
    const char *item = *list + strspn(*list, ", \t");
    size_t whole = strcspn(item, ","), length = whole;

    while (length > 0 && (item[length - 1] == ' ' || item[length - 1] == '\t'))
        length--;
    *list = item + whole;
    *ret_length = length;
    return item;
}

size_t str_list_count(const char *list)
{
    size_t count = 0, length;

    while (next_item(&list, &length), length > 0)
        count++;
    return count;
}

char *str_list_item(const char *list, size_t i)
{
    const char *item;
    size_t length;

    do
        item = next_item(&list, &length);
    while (length > 0 && i-- > 0);
    return length > 0 ? strndup(item, length) : NULL;
}

bool str_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int64_t now_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t now_realtime_ms(void)
{
    return now_ms(CLOCK_REALTIME);
}

int64_t now_monotonic_ms(void)
{
    return now_ms(CLOCK_MONOTONIC);
}

int64_t now_monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t keyed_number(const char *text, const char *key)
{
    size_t length = key ? strlen(key) : 0;
    char number[24];
    uint64_t value;

    while (text && key && (strncmp(text, key, length) != 0 || text[length] != ' ')) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    if (!text)
        return -1;
    text += key ? length + 1 : 0;
    size_t digits = strcspn(text, "\n");
    if (digits >= sizeof(number))
        return -1;
    snprintf(number, sizeof(number), "%.*s", (int)digits, text);
    return parse_u64(number, 0, INT64_MAX, &value) < 0 ? -1 : (int64_t)value;
}
