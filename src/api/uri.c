/* Theory of operation: see uri.h. One copy of the target is cut up in place: decoding never makes
 * text longer. */
#include "api/uri.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int decode(char *text, bool plus_is_space, struct error *err)
{
    char *to = text;

    for (const char *from = text; *from; from++, to++) {
        *to = plus_is_space && *from == '+' ? ' ' : *from;
        if (*from != '%')
            continue;
        int high = hex_digit(from[1]);
        int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || high * 16 + low == 0)
            return error_set_code(err, EINVAL, "invalid_url",
                                  "the URL holds a malformed percent escape or a NUL byte");
        *to = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    if (!utf8_valid(text, (size_t)(to - text)))
        return error_set_code(err, EINVAL, "invalid_url", "the URL is not UTF-8");
    return 0;
}

static int parse_path(struct uri *uri, char *path, struct error *err)
{
    int r = *path == '/' ? 0 : -EINVAL;

    if (r < 0)
        return error_set_code(err, EINVAL, "invalid_url", "the URL has no path");
    path++;
    uri->is_root = !*path;
    while (r == 0 && *path) {
        char *segment = path;
        path += strcspn(path, "/");
        bool more = *path == '/';
        if (more)
            *path++ = '\0';
        if (uri->n_segments >= URI_SEGMENTS_MAX || !*segment || (more && !*path)) {
            uri->n_segments = 0;
            return 0;
        }
        uri->segments[uri->n_segments++] = segment;
        r = decode(segment, false, err);
    }
    return r;
}

static int parse_query(struct uri *uri, char *query, struct error *err)
{
    for (char *part; (part = strsep(&query, "&"));) {
        if (!*part)
            continue;
        if (uri->n_query >= URI_QUERY_MAX)
            return error_set_code(err, EINVAL, "invalid_url", "more than %u query parameters",
                                  URI_QUERY_MAX);
        char *value = strchr(part, '=');
        if (value)
            *value++ = '\0';
        int r = decode(part, true, err);
        if (r == 0 && value)
            r = decode(value, true, err);
        if (r < 0)
            return r;
        uri->query[uri->n_query].name = part;
        uri->query[uri->n_query++].value = value ? value : "";
    }
    return 0;
}

int uri_parse(const char *raw, struct uri *ret_uri, struct error *err)
{
    struct uri uri = {.text = strdup(raw)};

    if (!uri.text)
        return error_oom(err);
    char *query = strchr(uri.text, '?');
    if (query)
        *query++ = '\0';
    int r = parse_path(&uri, uri.text, err);
    if (r == 0)
        r = parse_query(&uri, query, err);
    if (r < 0)
        uri_free(&uri);
    else
        *ret_uri = uri;
    return r;
}

void uri_free(struct uri *uri)
{
    free(uri->text);
    *uri = (struct uri){0};
}

const char *uri_query(const struct uri *uri, const char *name)
{
    for (size_t i = 0; i < uri->n_query; i++)
        if (str_equal(uri->query[i].name, name))
            return uri->query[i].value;
    return NULL;
}
