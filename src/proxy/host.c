/* Theory of operation: see host.h. Ids and ports have exactly one spelling, apart from the case of
 * letters in host names, which DNS ignores. */
#include "proxy/host.h"

#include "proxy/limits.h"

#include <errno.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_name_char(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '.' || c == '-' || c == '_';
}

static bool is_literal_char(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'f') || is_digit(c) || c == '.' || c == ':';
}

/* One spelling: no leading zero. Returns 0 if it is no port. */
static uint16_t parse_port(struct text text)
{
    uint32_t port = 0;

    if (text.length == 0 || text.length > 5 || text.data[0] == '0')
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        if (!is_digit(text.data[i]))
            return 0;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

static size_t host_length(struct text authority)
{
    size_t n = 0;

    if (authority.length > 0 && authority.data[0] == '[') {
        for (n = 1; n < authority.length && is_literal_char(authority.data[n]); n++)
            ;
        return n > 1 && n < authority.length && authority.data[n] == ']' ? n + 1 : 0;
    }
    while (n < authority.length && is_name_char(authority.data[n]))
        n++;
    return n;
}

int authority_check(struct text authority)
{
    size_t n = authority.length <= AUTHORITY_MAX ? host_length(authority) : 0;

    if (n == 0)
        return -EINVAL;
    if (n == authority.length)
        return (int)n;
    struct text port = {authority.data + n + 1, authority.length - n - 1};
    return authority.data[n] == ':' && parse_port(port) > 0 ? (int)n : -EINVAL;
}

static bool take_id(struct text text, struct target *target)
{
    if (text.length != SANDBOX_ID_LENGTH)
        return false;
    for (size_t i = 0; i < text.length; i++)
        target->id[i] = lower(text.data[i]);
    target->id[SANDBOX_ID_LENGTH] = '\0';
    return sandbox_id_valid(target->id);
}

bool target_from_authority(struct text authority, struct text domain, struct target *ret_target)
{
    struct target target = {.port = 0};
    struct text host = {authority.data, host_length(authority)};

    if (host.length < domain.length + 2)
        return false;
    size_t label = host.length - domain.length - 1;
    struct text tail = {host.data + label + 1, domain.length};
    if (host.data[label] != '.' || !text_is_case(tail, domain))
        return false;
    const char *hyphen = memchr(host.data, '-', label);
    struct text id = {host.data, label};
    if (hyphen) {
        size_t digits = (size_t)(hyphen - host.data);
        target.port = parse_port((struct text){host.data, digits});
        if (target.port == 0)
            return false;
        id = (struct text){hyphen + 1, label - digits - 1};
    }
    if (!take_id(id, &target))
        return false;
    *ret_target = target;
    return true;
}

bool target_from_path(struct text path, struct target *ret_target)
{
    static const size_t id_at = 3, port_at = 3 + SANDBOX_ID_LENGTH + 1;
    struct target target = {.port = 0};
    size_t end = port_at;

    if (path.length <= port_at || memcmp(path.data, "/p/", id_at) != 0 ||
        path.data[port_at - 1] != '/')
        return false;
    while (end < path.length && path.data[end] != '/' && path.data[end] != '?')
        end++;
    target.port = parse_port((struct text){path.data + port_at, end - port_at});
    struct text id = {path.data + id_at, SANDBOX_ID_LENGTH};
    if (target.port == 0 || !take_id(id, &target) || memcmp(target.id, id.data, id.length) != 0)
        return false;
    target.path_prefix = (uint16_t)end;
    target.slash_missing = end == path.length || path.data[end] != '/';
    *ret_target = target;
    return true;
}
