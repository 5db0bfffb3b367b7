/* Theory of operation: the dev server must believe that a browser talks to localhost:PORT, since
 * that is what it and its plugins check; the public name travels in X-Forwarded-* and Forwarded.
 * On the way back, what names localhost:PORT is turned into the public name again (names.h). Each
 * field that is known by name has a writer in a table; all others pass.
 *
 * A document that the bridge is inserted in is not the one that the dev server has: its validators
 * and digests are left out, and a browser's conditions, which may come from a copy without the
 * bridge, are not passed on for any document. So none is answered with 304, and no old copy is
 * taken for a new one. The dev server is asked for it uncompressed, since it has to be read. */
#include "proxy/rewrite.h"

#include "base/cleanup.h"
#include "proxy/access.h"
#include "proxy/csp.h"
#include "proxy/frame.h"
#include "proxy/set-cookie.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static int add_text(struct buffer *out, struct text text)
{
    return buffer_add(out, text.data, text.length);
}

/* A field's value for the next hop. */
typedef int (*value_fn)(struct buffer *out, struct text value, const struct exchange_names *names);

static int add_field(struct buffer *out, const struct head_field *field, value_fn value,
                     const struct exchange_names *names)
{
    if (!value)
        return BUFFER_JOIN(out, field->name, TEXT(": "), field->value, TEXT("\r\n"));
    int r = BUFFER_JOIN(out, field->name, TEXT(": "));
    r = r < 0 ? r : value(out, field->value, names);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

/* Host and framing are written anew, whatever Connection says of them. */
static bool dropped(const struct head *head, const struct head_field *field)
{
    switch (field->id) {
    case NAME_CONNECTION:
    case NAME_CONTENT_LENGTH:
    case NAME_HOP:
    case NAME_HOST:
    case NAME_TRANSFER_ENCODING:
    case NAME_UPGRADE:
        return true;
    default:
        return head_nominated(head, field->name);
    }
}

static int add_local_origin(struct buffer *out, struct text value,
                            const struct exchange_names *names)
{
    return names_add_local(out, value, true, names);
}

static int add_local_url(struct buffer *out, struct text value, const struct exchange_names *names)
{
    return names_add_local(out, value, false, names);
}

static bool is_left_out(const struct head_field *field, const struct exchange_names *names)
{
    return field->id == NAME_FORWARDED || access_is_ours(field) ||
           (names->document && (field->id == NAME_CONDITION || field->id == NAME_ACCEPT_ENCODING));
}

static int add_request_field(struct buffer *out, const struct head *head,
                             const struct head_field *field, const struct exchange_names *names)
{
    static const value_fn writers[NAME_COUNT] = {
        [NAME_ORIGIN] = add_local_origin,
        [NAME_REFERER] = add_local_url,
    };

    if (is_left_out(field, names) || dropped(head, field))
        return 0;
    if (field->id == NAME_COOKIE)
        return access_add_cookies(out, field);
    return add_field(out, field, writers[field->id], names);
}

/* Forwarded's `for`: the browser's address, in brackets if it is one of IPv6. */
static int add_forwarded_for(struct buffer *out, const struct exchange_names *names)
{
    struct text list = names->forwarded_for;
    const char *comma = memchr(list.data ? list.data : "", ',', list.length);
    size_t length = comma ? (size_t)(comma - list.data) : list.length;
    struct text first = text_trim((struct text){list.data, length});

    if (first.length == 0)
        first = (struct text){names->client, strlen(names->client)};
    bool bare_v6 = first.data[0] != '[' && memchr(first.data, ':', first.length) &&
                   !memchr(first.data, '.', first.length);
    return BUFFER_JOIN(out, TEXT("Forwarded: for=\""), bare_v6 ? TEXT("[") : TEXT(""), first,
                       bare_v6 ? TEXT("]\"") : TEXT("\""));
}

static int add_forwarded(struct buffer *out, const struct exchange_names *names)
{
    struct text scheme = names->secure ? TEXT("https") : TEXT("http");
    const struct target *target = names->target;
    struct text list = names->forwarded_for;
    int r =
        BUFFER_JOIN(out, TEXT("X-Forwarded-Host: "), names->authority,
                    TEXT("\r\nX-Forwarded-Proto: "), scheme, TEXT("\r\nX-Forwarded-For: "), list,
                    list.length > 0 ? TEXT(", ") : TEXT(""), text_of(names->client), TEXT("\r\n"));

    if (r == 0 && target->path_prefix > 0 && !names->keeps_prefix)
        r = buffer_print(out, "X-Forwarded-Prefix: /p/%s/%u\r\n", target->id, target->port);
    r = r < 0 ? r : add_forwarded_for(out, names);
    return r < 0 ? r
                 : BUFFER_JOIN(out, TEXT(";host=\""), names->authority, TEXT("\";proto="), scheme,
                               TEXT("\r\n"));
}

static int add_length(struct buffer *out, uint64_t length)
{
    char digits[TEXT_NUMBER_MAX];

    return BUFFER_JOIN(out, TEXT("Content-Length: "), text_number(length, digits), TEXT("\r\n"));
}

static int add_body_framing(struct buffer *out, const struct head *head)
{
    if (head->body == BODY_CHUNKED)
        return buffer_literal(out, "Transfer-Encoding: chunked\r\n");
    if (head->body == BODY_LENGTH)
        return add_length(out, head->content_length);
    return 0;
}

int rewrite_request(struct buffer *out, const struct head *head, struct text path,
                    const struct exchange_names *names)
{
    char digits[TEXT_NUMBER_MAX];
    int r = BUFFER_JOIN(out, head->method, TEXT(" "));

    r = r < 0 ? r : access_add_path(out, path);
    r = r < 0 ? r
              : BUFFER_JOIN(out, TEXT(" HTTP/1.1\r\nHost: localhost:"),
                            text_number(names->port, digits), TEXT("\r\n"));
    for (size_t i = 0; r == 0 && i < head->n_fields; i++)
        r = add_request_field(out, head, &head->fields[i], names);
    if (r == 0 && names->document)
        r = buffer_literal(out, "Accept-Encoding: identity\r\n");
    r = r < 0 ? r : add_forwarded(out, names);
    r = r < 0 ? r
              : add_text(out, head->minor == 1 ? TEXT("Via: 1.1 auracode\r\n")
                                               : TEXT("Via: 1.0 auracode\r\n"));
    r = r < 0 ? r : add_body_framing(out, head);
    if (r == 0 && head_upgrades(head))
        r = buffer_literal(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

/* Refresh: SECONDS; url=URL, the URL perhaps in quotes. */
static int add_refresh(struct buffer *out, struct text value, const struct exchange_names *names)
{
    static const struct text key = TEXT("url=");
    size_t at = 0;

    while (at + key.length <= value.length &&
           !text_is_case((struct text){value.data + at, key.length}, key))
        at++;
    if (at + key.length >= value.length)
        return add_text(out, value);
    at += key.length;
    char quote = value.data[at] == '"' || value.data[at] == '\'' ? value.data[at] : '\0';
    at += quote != '\0';
    struct text url = {value.data + at, value.length - at};
    const char *end = quote ? memchr(url.data, quote, url.length) : NULL;
    if (end)
        url.length = (size_t)(end - url.data);
    int r = buffer_add(out, value.data, at);
    r = r < 0 ? r : names_add_public(out, url, names);
    return r < 0 ? r : buffer_add(out, url.data + url.length, value.length - at - url.length);
}

static int add_allow_origin(struct buffer *out, const struct head_field *field,
                            const struct exchange_names *names)
{
    bool varies = false;
    int r = add_text(out, field->name);

    r = r < 0 ? r : buffer_literal(out, ": ");
    r = r < 0 ? r : names_add_allowed_origin(out, field->value, names, &varies);
    r = r < 0 ? r : buffer_literal(out, "\r\n");
    return r < 0 || !varies ? r : buffer_literal(out, "Vary: Origin\r\n");
}

static int add_response_field(struct buffer *out, const struct head *head,
                              const struct head_field *field, const struct exchange_names *names)
{
    static const value_fn writers[NAME_COUNT] = {
        [NAME_CSP] = csp_add,
        [NAME_CSP_REPORT_ONLY] = csp_add_report_only,
        [NAME_LOCATION] = names_add_public,
        [NAME_REFRESH] = add_refresh,
        [NAME_SET_COOKIE] = set_cookie_add,
    };

    if (dropped(head, field) || (field->id == NAME_HSTS && names->hsts_s > 0))
        return 0;
    if (field->id == NAME_SET_COOKIE && access_sets_ours(field->value))
        return 0;
    if (field->id == NAME_VALIDATOR && names->bridge)
        return 0;
    if (field->id == NAME_FRAME_OPTIONS && names->frame_origins.length > 0)
        return 0;
    /* All previews share the host of the path form: none may rule over the others there. */
    if ((field->id == NAME_SITE_WIDE || field->id == NAME_HSTS) && names->target->path_prefix > 0)
        return 0;
    if (field->id == NAME_ALLOW_ORIGIN)
        return add_allow_origin(out, field, names);
    return add_field(out, field, writers[field->id], names);
}

/* RFC 9110, 6.6.1: who has a clock dates a response that has no date. */
static int add_date(struct buffer *out, const struct head *head)
{
    return head->status < 200 || head_get(head, NAME_DATE).length > 0 ? 0 : buffer_add_date(out);
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
        r = add_length(out, head->content_length + form->added);
    if (r == 0 && !form->keep_alive)
        r = buffer_literal(out, "Connection: close\r\n");
    else if (r == 0 && form->announce)
        r = buffer_literal(out, "Connection: keep-alive\r\n");
    return r;
}

int rewrite_response(struct buffer *out, const struct head *head, const struct response_form *form,
                     const struct exchange_names *names)
{
    char digits[TEXT_NUMBER_MAX];
    int r =
        BUFFER_JOIN(out, TEXT("HTTP/1.1 "), text_number((unsigned long long)head->status, digits),
                    TEXT(" "), head->reason, TEXT("\r\n"));

    for (size_t i = 0; r == 0 && i < head->n_fields; i++)
        r = add_response_field(out, head, &head->fields[i], names);
    if (r == 0 && names->hsts_s > 0)
        r = buffer_print(out, "Strict-Transport-Security: max-age=%lld\r\n",
                         (long long)names->hsts_s);
    if (r == 0 && names->frame_origins.length > 0 && head->status >= 200)
        r = frame_add_ancestors(out, names);
    r = r < 0 ? r : add_date(out, head);
    r = r < 0 ? r : add_response_framing(out, head, form);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}
