/* Theory of operation: the dev server must believe that a browser talks to localhost:PORT, since
 * that is what it and its plugins check; the public name travels in X-Forwarded-* and Forwarded.
 * On the way back, URLs that name localhost:PORT are turned into the public name again. */
#include "proxy/rewrite.h"

#include <errno.h>
#include <string.h>

/* A URL split into scheme://authority and the rest. */
struct url {
    struct text authority;
    struct text rest; /* "" or beginning with / or ? */
};

static bool split_url(struct text text, struct url *ret_url)
{
    static const struct text schemes[] = {TEXT("http://"), TEXT("https://"), TEXT("ws://"),
                                          TEXT("wss://")};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t n = schemes[i].length;
        if (text.length <= n || !text_is_case((struct text){text.data, n}, schemes[i]))
            continue;
        size_t end = n;
        while (end < text.length && !strchr("/?#", text.data[end]))
            end++;
        ret_url->authority = (struct text){text.data + n, end - n};
        ret_url->rest = (struct text){text.data + end, text.length - end};
        return true;
    }
    return false;
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
        return other.port > 0 ? other.port : names->port;
    }
    if (names->target->path_prefix == 0 || !text_is_case(url->authority, names->authority))
        return 0;
    if (!target_from_path(url->rest, &other) || strcmp(other.id, names->target->id) != 0) {
        url->rest = TEXT("");
        return names->port;
    }
    url->rest.data += other.path_prefix;
    url->rest.length -= other.path_prefix;
    return other.port;
}

static int add_text(struct buffer *out, struct text text)
{
    return buffer_add(out, text.data, text.length);
}

static int add_field(struct buffer *out, const struct head_field *field)
{
    int r = add_text(out, field->name);

    r = r < 0 ? r : buffer_literal(out, ": ");
    r = r < 0 ? r : add_text(out, field->value);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

static int add_local_url(struct buffer *out, const struct head_field *field,
                         const struct exchange_names *names)
{
    struct url url;
    uint16_t port = split_url(field->value, &url) ? public_port(&url, names) : 0;

    if (port == 0)
        return add_field(out, field);
    int r = add_text(out, field->name);
    r = r < 0 ? r : buffer_print(out, ": http://localhost:%u", port);
    if (field->id == NAME_REFERER)
        r = r < 0 ? r : add_text(out, url.rest.length > 0 ? url.rest : TEXT("/"));
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

static bool dropped(const struct head *head, const struct head_field *field)
{
    switch (field->id) {
    case NAME_CONNECTION:
    case NAME_CONTENT_LENGTH:
    case NAME_HOP:
    case NAME_TRANSFER_ENCODING:
    case NAME_UPGRADE:
        return true;
    case NAME_OTHER:
        return head_nominated(head, field->name);
    default:
        return false;
    }
}

static int add_request_field(struct buffer *out, const struct head *head,
                             const struct head_field *field, const struct exchange_names *names)
{
    if (field->id == NAME_HOST || field->id == NAME_FORWARDED || dropped(head, field))
        return 0;
    if (field->id == NAME_ORIGIN || field->id == NAME_REFERER)
        return add_local_url(out, field, names);
    return add_field(out, field);
}

static int add_forwarded(struct buffer *out, const struct exchange_names *names)
{
    bool v6 = strchr(names->client, ':') != NULL;
    int length = (int)names->authority.length;
    const char *authority = names->authority.data;

    return buffer_print(out,
                        "X-Forwarded-Host: %.*s\r\nX-Forwarded-Proto: http\r\n"
                        "X-Forwarded-For: %s\r\n"
                        "Forwarded: for=\"%s%s%s\";host=\"%.*s\";proto=http\r\n",
                        length, authority, names->client, v6 ? "[" : "", names->client,
                        v6 ? "]" : "", length, authority);
}

static int add_body_framing(struct buffer *out, const struct head *head)
{
    if (head->body == BODY_CHUNKED)
        return buffer_literal(out, "Transfer-Encoding: chunked\r\n");
    if (head->body == BODY_LENGTH)
        return buffer_print(out, "Content-Length: %llu\r\n",
                            (unsigned long long)head->content_length);
    return 0;
}

int rewrite_request(struct buffer *out, const struct head *head, struct text path,
                    const struct exchange_names *names)
{
    int r = add_text(out, head->method);

    r = r < 0 ? r : buffer_literal(out, " ");
    r = r < 0 ? r : add_text(out, path);
    r = r < 0 ? r : buffer_print(out, " HTTP/1.1\r\nHost: localhost:%u\r\n", names->port);
    for (size_t i = 0; r == 0 && i < head->n_fields; i++)
        r = add_request_field(out, head, &head->fields[i], names);
    r = r < 0 ? r : add_forwarded(out, names);
    r = r < 0 ? r : add_body_framing(out, head);
    if (r == 0 && head->upgrade && head->body == BODY_NONE)
        r = buffer_literal(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

/* The port if the authority is one of the dev server's own names; else 0. */
static uint16_t local_port(struct text authority)
{
    static const struct text names[] = {TEXT("localhost"), TEXT("127.0.0.1"), TEXT("[::1]")};
    uint32_t port = 0;

    int n = authority_check(authority);
    for (size_t i = 0; n > 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        if (!text_is_case((struct text){authority.data, (size_t)n}, names[i]))
            continue;
        if ((size_t)n == authority.length)
            return 80;
        for (size_t at = (size_t)n + 1; at < authority.length; at++)
            port = port * 10 + (uint32_t)(authority.data[at] - '0');
    }
    return (uint16_t)port;
}

static struct text port_suffix(struct text authority)
{
    int n = authority_check(authority);

    return n < 0 ? TEXT("") : (struct text){authority.data + n, authority.length - (size_t)n};
}

/* http://PUBLIC that leads to this port of the sandbox, without a path (path form: its prefix). */
static int add_public_origin(struct buffer *out, uint16_t port, const struct exchange_names *names)
{
    const struct target *target = names->target;
    int r = buffer_literal(out, "http://");

    if (r < 0)
        return r;
    if (target->path_prefix > 0) {
        r = add_text(out, names->authority);
        return r < 0 ? r : buffer_print(out, "/p/%s/%u", target->id, port);
    }
    if (port == names->port)
        return add_text(out, names->authority);
    struct text suffix = port_suffix(names->authority);
    return buffer_print(out, "%u-%s.%.*s%.*s", port, target->id, (int)names->domain.length,
                        names->domain.data, (int)suffix.length, suffix.data);
}

static int add_location(struct buffer *out, const struct head_field *field,
                        const struct exchange_names *names)
{
    const struct target *target = names->target;
    struct text value = field->value;
    struct url url = {.rest = value};
    uint16_t port = split_url(value, &url) ? local_port(url.authority) : 0;

    int r = add_text(out, field->name);
    r = r < 0 ? r : buffer_literal(out, ": ");
    if (r == 0 && port > 0)
        r = add_public_origin(out, port, names);
    else if (r == 0 && target->path_prefix > 0 && value.length > 0 && value.data[0] == '/' &&
             !(value.length > 1 && value.data[1] == '/'))
        r = buffer_print(out, "/p/%s/%u", target->id, names->port);
    r = r < 0 ? r : add_text(out, port > 0 ? url.rest : value);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

static int add_allow_origin(struct buffer *out, const struct head_field *field,
                            const struct exchange_names *names)
{
    struct url url;
    uint16_t port = split_url(field->value, &url) ? local_port(url.authority) : 0;

    if (port == 0 || names->target->path_prefix > 0)
        return add_field(out, field);
    int r = add_text(out, field->name);
    r = r < 0 ? r : buffer_literal(out, ": ");
    r = r < 0 ? r : add_public_origin(out, port, names);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

static int add_response_field(struct buffer *out, const struct head *head,
                              const struct head_field *field, const struct exchange_names *names)
{
    if (dropped(head, field))
        return 0;
    if (field->id == NAME_LOCATION)
        return add_location(out, field, names);
    if (field->id == NAME_ALLOW_ORIGIN)
        return add_allow_origin(out, field, names);
    return add_field(out, field);
}

static int add_response_framing(struct buffer *out, const struct head *head,
                                const struct response_form *form)
{
    int r = 0;

    if (form->upgrade)
        return buffer_literal(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    if (form->chunk)
        r = buffer_literal(out, "Transfer-Encoding: chunked\r\n");
    else if (form->length)
        r = buffer_print(out, "Content-Length: %llu\r\n", (unsigned long long)head->content_length);
    if (r == 0 && !form->keep_alive)
        r = buffer_literal(out, "Connection: close\r\n");
    else if (r == 0 && form->announce)
        r = buffer_literal(out, "Connection: keep-alive\r\n");
    return r;
}

int rewrite_response(struct buffer *out, const struct head *head, const struct response_form *form,
                     const struct exchange_names *names)
{
    int r = buffer_print(out, "HTTP/1.1 %d %.*s\r\n", head->status, (int)head->reason.length,
                         head->reason.data ? head->reason.data : "");

    for (size_t i = 0; r == 0 && i < head->n_fields; i++)
        r = add_response_field(out, head, &head->fields[i], names);
    r = r < 0 ? r : add_response_framing(out, head, form);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}
