/* Theory of operation: see text.h. */
#include "cli/text.h"

#include "base/cleanup.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISTANCE_MAX 32

void text_size(int64_t bytes, char *buffer, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    bool whole = value >= 100 || value == (double)(int64_t)value;
    snprintf(buffer, size, whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void text_age(int64_t ms, char *buffer, size_t size)
{
    static const struct {
        int64_t below, unit;
        char suffix;
    } steps[] = {
        {120, 1, 's'}, {120 * 60, 60, 'm'}, {48 * 3600, 3600, 'h'}, {INT64_MAX, 86400, 'd'}};
    int64_t seconds = ms < 0 ? 0 : ms / 1000;
    size_t i = 0;

    while (seconds >= steps[i].below)
        i++;
    snprintf(buffer, size, "%lld%c", (long long)(seconds / steps[i].unit), steps[i].suffix);
}

char *text_url_escape(const char *text, bool keep_slash)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *result = malloc(strlen(text) * 3 + 1);
    char *out = result;

    for (; result && *text; text++) {
        if (strchr(plain, *text) || (keep_slash && *text == '/'))
            *out++ = *text;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*text);
    }
    if (result)
        *out = '\0';
    return result;
}

char *text_printable(const char *text)
{
    char *copy = strdup(text);

    for (unsigned char *p = (unsigned char *)copy; p && *p; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

        if (*p < 0x20 || *p == 0x7f || c1)
            *p = '?';
        if (c1)
            *++p = '?';
    }
    return copy;
}

size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t text_distance(const char *from, const char *to)
{
    size_t rows[DISTANCE_MAX + 1][DISTANCE_MAX + 1];
    size_t n = strlen(from), m = strlen(to);

    if (n > DISTANCE_MAX || m > DISTANCE_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= n; i++)
        rows[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t cost = from[i - 1] != to[j - 1];
            size_t best = least(rows[i - 1][j] + 1, rows[i][j - 1] + 1);

            best = least(best, rows[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
                best = least(best, rows[i - 2][j - 2] + 1);
            rows[i][j] = best;
        }
    return rows[n][m];
}

int text_signal_number(const char *name)
{
    if (!name || strncmp(name, "SIG", 3) != 0)
        return 0;
    for (int number = 1; number < NSIG; number++) {
        const char *known = sigabbrev_np(number);

        if (known && strcmp(known, name + 3) == 0)
            return number;
    }
    return 0;
}
