/* Theory of operation: attributes are passed, left out or rewritten, by a table.
 *
 * Domain is always left out: the dev server means localhost, which is no name of ours, and a
 * hostile one would mean a parent that all previews share. Path gets the prefix of the path form,
 * where all previews share one host. What a browser keeps over https only (Secure, and with it
 * SameSite=None and Partitioned) goes where the browser's connection is neither https nor to a
 * localhost, which browsers trust as https. */
#include "proxy/set-cookie.h"

#include <string.h>

enum action { PASS, LEAVE_OUT, IF_SECURE, IF_SECURE_NONE, PREFIX };

static const struct {
    struct text name;
    enum action action;
} attributes[] = {
    {TEXT("domain"), LEAVE_OUT},        {TEXT("partitioned"), IF_SECURE}, {TEXT("path"), PREFIX},
    {TEXT("samesite"), IF_SECURE_NONE}, {TEXT("secure"), IF_SECURE},
};

static bool ends_with_label(struct text host, struct text label)
{
    if (host.length < label.length)
        return false;
    size_t start = host.length - label.length;
    return text_is_case((struct text){host.data + start, label.length}, label) &&
           (start == 0 || host.data[start - 1] == '.');
}

bool set_cookie_may_secure(const struct exchange_names *names)
{
    int n = authority_check(names->authority);
    struct text host = {names->authority.data, n > 0 ? (size_t)n : 0};

    return names->secure || ends_with_label(host, TEXT("localhost")) ||
           text_is(host, TEXT("127.0.0.1")) || text_is(host, TEXT("[::1]"));
}

static enum action action_of(struct text name, struct text value,
                             const struct exchange_names *names)
{
    enum action action = PASS;

    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        if (text_is_case(name, attributes[i].name))
            action = attributes[i].action;
    if (action == IF_SECURE_NONE)
        action = text_is_case(value, TEXT("none")) ? IF_SECURE : PASS;
    if (action == IF_SECURE)
        return set_cookie_may_secure(names) ? PASS : LEAVE_OUT;
    if (action == PREFIX &&
        (names->target->path_prefix == 0 || value.length == 0 || value.data[0] != '/'))
        return PASS;
    return action;
}

/* One attribute, without the semicolon before it. */
static int add_attribute(struct buffer *out, struct text text, const struct exchange_names *names)
{
    const char *equals = memchr(text.data, '=', text.length);
    size_t length = equals ? (size_t)(equals - text.data) : text.length;
    struct text name = text_trim((struct text){text.data, length});
    struct text value = TEXT("");

    if (equals)
        value = text_trim((struct text){equals + 1, text.length - length - 1});
    enum action action = action_of(name, value, names);
    if (action == LEAVE_OUT)
        return 0;
    int r = buffer_literal(out, ";");
    if (r < 0 || action != PREFIX)
        return r < 0 ? r : buffer_add(out, text.data, text.length);
    r = buffer_literal(out, " Path=");
    return r < 0 ? r : names_add_path(out, value, names);
}

int set_cookie_add(struct buffer *out, struct text value, const struct exchange_names *names)
{
    const char *at = memchr(value.data, ';', value.length);
    const char *end = value.data + value.length;
    int r = buffer_add(out, value.data, at ? (size_t)(at - value.data) : value.length);

    while (r == 0 && at) {
        const char *next = memchr(at + 1, ';', (size_t)(end - at) - 1);
        size_t length = (size_t)((next ? next : end) - at) - 1;
        r = add_attribute(out, (struct text){at + 1, length}, names);
        at = next;
    }
    return r;
}
