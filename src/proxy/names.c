/* Theory of operation: see names.h. A URL is split once; whose it is, is told by its authority
 * alone, compared as a whole, so that nothing that merely begins like one of our names is taken for
 * it. */
#include "proxy/names.h"

#include <string.h>

/* A URL split into scheme://authority and the rest. */
struct url {
    bool secure; /* https, wss */
    struct text authority;
    struct text rest; /* "" or beginning with /, ? or # */
};

static bool split_url(struct text text, struct url *ret_url)
{
    static const struct {
        struct text scheme;
        bool secure;
    } schemes[] = {{TEXT("http://"), false},
                   {TEXT("https://"), true},
                   {TEXT("ws://"), false},
                   {TEXT("wss://"), true}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t n = schemes[i].scheme.length;
        if (text.length <= n || !text_is_case((struct text){text.data, n}, schemes[i].scheme))
            continue;
        size_t end = n;
        while (end < text.length && !strchr("/?#", text.data[end]))
            end++;
        *ret_url = (struct url){
            schemes[i].secure, {text.data + n, end - n}, {text.data + end, text.length - end}};
        return true;
    }
    return false;
}

static uint16_t service_port(const struct exchange_names *names)
{
    return names->service_port > 0 ? names->service_port : names->port;
}

static bool is_path_form(const struct exchange_names *names)
{
    return names->target->path_prefix > 0;
}

static bool is_own_path(struct text path, const struct exchange_names *names,
                        struct target *ret_target)
{
    return target_from_path(path, ret_target) && strcmp(ret_target->id, names->target->id) == 0;
}

/* Which port of our sandbox a public URL names; 0 if it is none of ours. Drops the path-form prefix
 * from its rest. */
static uint16_t public_port(struct url *url, const struct exchange_names *names)
{
    struct target other;

    if (authority_check(url->authority) < 0)
        return 0;
    if (target_from_authority(url->authority, names->domain, &other)) {
        if (strcmp(other.id, names->target->id) != 0)
            return 0;
        return other.port > 0 ? other.port : service_port(names);
    }
    if (!is_path_form(names) || !text_is_case(url->authority, names->authority))
        return 0;
    if (!is_own_path(url->rest, names, &other)) {
        url->rest = TEXT("");
        return names->port;
    }
    if (!names->keeps_prefix || other.port != names->port) {
        url->rest.data += other.path_prefix;
        url->rest.length -= other.path_prefix;
    }
    return other.port;
}

static uint16_t number_behind(struct text authority, size_t colon)
{
    uint32_t port = 0;

    for (size_t at = colon + 1; at < authority.length; at++)
        port = port * 10 + (uint32_t)(authority.data[at] - '0');
    return (uint16_t)port;
}

/* The port if the authority is one of the dev server's own names; else 0. */
static uint16_t local_port(const struct url *url)
{
    static const struct text names[] = {TEXT("localhost"), TEXT("127.0.0.1"), TEXT("[::1]"),
                                        TEXT("0.0.0.0"), TEXT("[::]")};
    int n = authority_check(url->authority);

    for (size_t i = 0; n > 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        if (!text_is_case((struct text){url->authority.data, (size_t)n}, names[i]))
            continue;
        if ((size_t)n == url->authority.length)
            return url->secure ? 443 : 80;
        return number_behind(url->authority, (size_t)n);
    }
    return 0;
}

static int add_text(struct buffer *out, struct text text)
{
    return buffer_add(out, text.data, text.length);
}

struct origin origin_of(struct text value, const struct exchange_names *names)
{
    struct url url;
    struct target other;
    struct origin origin = {.kind = value.length > 0 ? ORIGIN_FOREIGN : ORIGIN_NONE};

    if (!split_url(value, &url))
        return origin;
    origin.secure = url.secure;
    origin.port = public_port(&url, names);
    if (origin.port == 0)
        return origin;
    size_t n = (size_t)authority_check(url.authority);
    origin.public_port = number_behind(url.authority, n);
    if (!target_from_authority(url.authority, names->domain, &other))
        origin.kind = ORIGIN_PATH;
    else
        origin.kind = other.port > 0 ? ORIGIN_PORT : ORIGIN_BARE;
    return origin;
}

int names_add_local(struct buffer *out, struct text value, bool origin_only,
                    const struct exchange_names *names)
{
    struct url url;
    uint16_t port = split_url(value, &url) ? public_port(&url, names) : 0;

    if (port == 0)
        return add_text(out, value);
    int r = buffer_print(out, "http://localhost:%u", port);
    if (r < 0 || origin_only)
        return r;
    return add_text(out, url.rest.length > 0 ? url.rest : TEXT("/"));
}

static int add_scheme(struct buffer *out, bool secure)
{
    return secure ? buffer_literal(out, "https://") : buffer_literal(out, "http://");
}

/* host[:port] of a port of the sandbox; `port` 0: of the sandbox itself. */
static int add_host(struct buffer *out, uint16_t port, uint16_t public_port,
                    const struct exchange_names *names)
{
    int r = port > 0 ? buffer_print(out, "%u-", port) : 0;

    r = r < 0 ? r
              : buffer_print(out, "%s.%.*s", names->target->id, (int)names->domain.length,
                             names->domain.data);
    return r < 0 || public_port == 0 ? r : buffer_print(out, ":%u", public_port);
}

/* PUBLIC that leads to this port of the sandbox, without a path (path form: its prefix). */
static int add_public(struct buffer *out, uint16_t port, const struct exchange_names *names)
{
    int n = authority_check(names->authority);
    int r = add_scheme(out, names->secure);

    if (r < 0)
        return r;
    if (is_path_form(names)) {
        r = add_text(out, names->authority);
        return r < 0 ? r : buffer_print(out, "/p/%s/%u", names->target->id, port);
    }
    if (port == names->port)
        return add_text(out, names->authority);
    uint16_t public = n > 0 ? number_behind(names->authority, (size_t)n) : 0;
    return add_host(out, port == service_port(names) ? 0 : port, public, names);
}

int names_add_path(struct buffer *out, struct text path, const struct exchange_names *names)
{
    struct target other;
    int r = 0;

    if (!is_own_path(path, names, &other))
        r = buffer_print(out, "/p/%s/%u", names->target->id, names->port);
    return r < 0 ? r : add_text(out, path);
}

int names_add_public(struct buffer *out, struct text value, const struct exchange_names *names)
{
    struct url url;
    bool absolute = split_url(value, &url);

    if (is_path_form(names) && absolute && text_is_case(url.authority, names->authority)) {
        /* A URL that the dev server made of X-Forwarded-Host. */
        int r = add_scheme(out, names->secure);
        r = r < 0 ? r : add_text(out, url.authority);
        return r < 0 ? r : names_add_path(out, url.rest.length > 0 ? url.rest : TEXT("/"), names);
    }
    uint16_t port = absolute ? local_port(&url) : 0;
    if (port > 0) {
        int r = add_public(out, port, names);
        return r < 0 ? r : add_text(out, url.rest);
    }
    bool is_path = value.length > 0 && value.data[0] == '/' &&
                   !(value.length > 1 && (value.data[1] == '/' || value.data[1] == '\\'));
    return is_path_form(names) && is_path ? names_add_path(out, value, names)
                                          : add_text(out, value);
}

/* The origin as the browser spelt it. */
static int add_origin(struct buffer *out, const struct exchange_names *names)
{
    const struct origin *origin = &names->origin;
    int r = add_scheme(out, origin->secure);

    if (r < 0)
        return r;
    if (origin->kind == ORIGIN_PATH)
        return add_text(out, names->authority);
    return add_host(out, origin->kind == ORIGIN_PORT ? origin->port : 0, origin->public_port,
                    names);
}

int names_add_allowed_origin(struct buffer *out, struct text value,
                             const struct exchange_names *names, bool *ret_varies)
{
    const struct origin *origin = &names->origin;
    struct url url;
    uint16_t port = split_url(value, &url) ? local_port(&url) : 0;

    *ret_varies = false;
    /* A foreign page on a localhost of its own: the dev server echoes what it was told. */
    if (port == 0 || url.rest.length > 0 || origin->kind == ORIGIN_FOREIGN)
        return add_text(out, value);
    *ret_varies = true;
    if (origin->kind != ORIGIN_NONE && origin->port == port)
        return add_origin(out, names);
    return is_path_form(names) ? add_text(out, value) : add_public(out, port, names);
}
