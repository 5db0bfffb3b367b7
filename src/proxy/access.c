/* Theory of operation: see access.h. Names are compared as they stand: a parameter in percent
 * encoding is none of ours, and opens nothing. What leaves out a cookie or a parameter passes the
 * rest byte by byte. */
#include "proxy/access.h"

#include <string.h>

static const struct text query_name = TEXT(PREVIEW_TOKEN_QUERY);
static const struct text cookie_name = TEXT(PREVIEW_TOKEN_COOKIE);
static const struct text host_prefix = TEXT("__Host-");
static const struct text bearer = TEXT("bearer ");
static const struct text token_prefix = TEXT(PREVIEW_TOKEN_PREFIX);

static struct text without(struct text text, size_t count)
{
    return (struct text){text.data + count, text.length - count};
}

static bool starts_case(struct text text, struct text prefix)
{
    return text.length >= prefix.length &&
           text_is_case((struct text){text.data, prefix.length}, prefix);
}

/* The piece up to `separator`, which is taken off the text together with it. False: there is none
 * more. */
static bool take_piece(struct text *text, char separator, struct text *ret_piece)
{
    if (!text->data)
        return false;
    const char *end = memchr(text->data, separator, text->length);
    *ret_piece = (struct text){text->data, end ? (size_t)(end - text->data) : text->length};
    *text = end ? without(*text, ret_piece->length + 1) : (struct text){NULL, 0};
    return true;
}

/* Name and value of "name=value"; length 0 where there is none. */
static struct text split_pair(struct text pair, struct text *ret_value)
{
    const char *equals = memchr(pair.data, '=', pair.length);
    size_t n = equals ? (size_t)(equals - pair.data) : pair.length;

    *ret_value = equals ? without(pair, n + 1) : TEXT("");
    return (struct text){pair.data, n};
}

/* Behind the question mark; without data when there is none. */
static struct text query_of(struct text path)
{
    const char *mark = memchr(path.data, '?', path.length);

    return mark ? without(path, (size_t)(mark - path.data) + 1) : (struct text){NULL, 0};
}

static bool is_parameter(struct text piece)
{
    struct text value;

    return text_is(split_pair(piece, &value), query_name);
}

bool access_in_query(struct text path)
{
    struct text query = query_of(path), piece;

    while (take_piece(&query, '&', &piece))
        if (is_parameter(piece))
            return true;
    return false;
}

int access_add_path(struct buffer *out, struct text path)
{
    struct text query = query_of(path), piece;
    size_t length = query.data ? (size_t)(query.data - path.data) - 1 : path.length;
    const char *separator = "?";
    int r = buffer_add(out, path.data, length);

    while (r == 0 && take_piece(&query, '&', &piece)) {
        if (is_parameter(piece))
            continue;
        r = buffer_add(out, separator, 1);
        r = r < 0 ? r : buffer_add(out, piece.data, piece.length);
        separator = "&";
    }
    return r;
}

/* Browsers take __host- for the prefix, too. */
static bool is_cookie_name(struct text name)
{
    if (starts_case(name, host_prefix))
        name = without(name, host_prefix.length);
    return starts_case(name, cookie_name);
}

static bool is_cookie(struct text piece)
{
    struct text value;

    return is_cookie_name(text_trim(split_pair(piece, &value)));
}

int access_add_cookies(struct buffer *out, const struct head_field *field)
{
    struct text rest = field->value, piece;
    bool any = false;
    int r = 0;

    while (r == 0 && take_piece(&rest, ';', &piece)) {
        if (is_cookie(piece))
            continue;
        if (any) {
            r = buffer_literal(out, ";");
        } else {
            piece = text_trim(piece);
            r = buffer_add(out, field->name.data, field->name.length);
            r = r < 0 ? r : buffer_literal(out, ": ");
        }
        r = r < 0 ? r : buffer_add(out, piece.data, piece.length);
        any = true;
    }
    return r < 0 || !any ? r : buffer_literal(out, "\r\n");
}

/* The token of "Bearer TOKEN"; length 0 for every other Authorization. */
static struct text bearer_token(struct text value)
{
    struct text token =
        starts_case(value, bearer) ? text_trim(without(value, bearer.length)) : TEXT("");

    return starts_case(token, token_prefix) ? token : TEXT("");
}

bool access_is_ours(const struct head_field *field)
{
    return field->id == NAME_PREVIEW_TOKEN ||
           (field->id == NAME_AUTHORIZATION && bearer_token(field->value).length > 0) ||
           (field->id == NAME_REFERER && access_in_query(field->value));
}

/* A cookie without a name is sent as its value alone, which then looks like a name. */
bool access_sets_ours(struct text set_cookie)
{
    struct text pair, value;

    if (!take_piece(&set_cookie, ';', &pair))
        return false;
    struct text name = text_trim(split_pair(pair, &value));
    return is_cookie_name(name.length > 0 ? name : text_trim(value));
}

/* ---- the check
 * --------------------------------------------------------------------------------------------- */

struct checking {
    const struct preview_key *key;
    const struct preview_claims *claims;
    struct access_result *result;
};

/* True: it is good, and nothing more needs to be looked at. */
static bool try(struct checking *checking, struct text token)
{
    struct access_result *result = checking->result;
    int64_t expires =
        preview_token_check(checking->key, token.data, token.length, checking->claims);

    result->verdict = expires < 0 ? ACCESS_REFUSED : ACCESS_GRANTED;
    result->expires_at = expires < 0 ? 0 : expires;
    return expires >= 0;
}

static bool try_query(struct checking *checking, struct text path)
{
    struct text query = query_of(path), piece, value;

    while (take_piece(&query, '&', &piece)) {
        if (!text_is(split_pair(piece, &value), query_name) || !try(checking, value))
            continue;
        checking->result->query = value;
        return true;
    }
    return false;
}

/* "auracode_token_ID" or, `secure`, "__Host-auracode_token_ID". */
static bool is_own_name(struct text name, const char *id, bool secure)
{
    if (secure && !starts_case(name, host_prefix))
        return false;
    if (secure)
        name = without(name, host_prefix.length);
    return starts_case(name, cookie_name) &&
           text_is(without(name, cookie_name.length), (struct text){id, SANDBOX_ID_LENGTH});
}

/* Several may be there: a sibling of the host can add one, but not take ours away. */
static bool try_cookies(struct checking *checking, struct text rest, bool secure)
{
    struct text piece, value;

    while (take_piece(&rest, ';', &piece)) {
        struct text name = split_pair(text_trim(piece), &value);
        if (is_own_name(name, checking->claims->id, secure) && try(checking, value))
            return true;
    }
    return false;
}

static bool try_field(struct checking *checking, const struct head_field *field, bool secure)
{
    struct text token;

    switch (field->id) {
    case NAME_PREVIEW_TOKEN:
        return try(checking, field->value);
    case NAME_AUTHORIZATION:
        token = bearer_token(field->value);
        return token.length > 0 && try(checking, token);
    case NAME_COOKIE:
        return try_cookies(checking, field->value, secure);
    default:
        return false;
    }
}

void access_check(const struct preview_key *key, const struct head *head,
                  const struct preview_claims *claims, bool secure,
                  struct access_result *ret_result)
{
    struct checking checking = {key, claims, ret_result};

    *ret_result = (struct access_result){.verdict = ACCESS_MISSING};
    if (try_query(&checking, head->target))
        return;
    for (size_t i = 0; i < head->n_fields; i++)
        if (try_field(&checking, &head->fields[i], secure))
            return;
}
