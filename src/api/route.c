/* Theory of operation: see route.h. The table is a few dozen rows: it is walked from its start. */
#include "api/route.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum method method;
} methods[] = {
    {"GET", METHOD_GET}, {"HEAD", METHOD_GET},    {"POST", METHOD_POST},
    {"PUT", METHOD_PUT}, {"PATCH", METHOD_PATCH}, {"DELETE", METHOD_DELETE},
};

enum method method_parse(const char *text)
{
    for (size_t i = 0; i < ELEMENTS(methods); i++)
        if (str_equal(methods[i].name, text))
            return methods[i].method;
    return METHOD_NONE;
}

const char *method_name(enum method method)
{
    for (size_t i = 0; i < ELEMENTS(methods); i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "";
}

void method_list(unsigned int allowed, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < ELEMENTS(methods) && used < size; i++)
        if (allowed & (1u << methods[i].method))
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                                     methods[i].name);
}

static bool matches(const char *pattern, const char *const *segments, size_t n_segments,
                    const char **captures)
{
    size_t n_captures = 0;

    for (size_t i = 0; i < n_segments; i++) {
        if (*pattern != '/')
            return false;
        size_t length = strcspn(++pattern, "/");
        if (*pattern == '{' && n_captures < ROUTE_CAPTURES)
            captures[n_captures++] = segments[i];
        else if (strlen(segments[i]) != length || strncmp(pattern, segments[i], length) != 0)
            return false;
        pattern += length;
    }
    return *pattern == '\0';
}

void route_match(const struct route *table, size_t n_table, enum method method,
                 const char *const *segments, size_t n_segments, struct route_match *ret_match)
{
    struct route_match match = {0};

    for (size_t i = 0; i < n_table; i++) {
        const char *captures[ROUTE_CAPTURES] = {0};
        if (!matches(table[i].pattern, segments, n_segments, captures))
            continue;
        match.allowed |= 1u << table[i].method;
        if (table[i].method != method || match.route)
            continue;
        match.route = &table[i];
        memcpy(match.captures, captures, sizeof(captures));
    }
    *ret_match = match;
}

bool route_has_sandbox(const struct route *route)
{
    return strstr(route->pattern, "/{id}") != NULL;
}

bool route_is_audited(const struct route *route)
{
    return route->method != METHOD_GET || (route->flags & ROUTE_AUDITED);
}
