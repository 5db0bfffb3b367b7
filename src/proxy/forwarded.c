/* Theory of operation: see forwarded.h. Each field must come once and be well formed, else it is as
 * if it were not there. Of a list that several proxies wrote, the first element is the browser's.
 */
#include "proxy/forwarded.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static struct text value_of(const struct head *head, struct text name)
{
    struct text value = {"", 0};
    size_t n = 0;

    for (size_t i = 0; i < head->n_fields; i++) {
        const struct head_field *field = &head->fields[i];
        if (field->id != NAME_FORWARDED || !text_is_case(field->name, name))
            continue;
        value = field->value;
        n++;
    }
    return n == 1 ? value : (struct text){"", 0};
}

static struct text first_of(struct text list)
{
    const char *comma = memchr(list.data, ',', list.length);

    return text_trim((struct text){list.data, comma ? (size_t)(comma - list.data) : list.length});
}

/* Numeric addresses, as far as their characters tell: nothing in it can end a quoted string or add
 * an element of another kind. */
static bool is_address_list(struct text text)
{
    static const char allowed[] = "0123456789abcdefABCDEF.:[], ";

    for (size_t i = 0; i < text.length; i++)
        if (!memchr(allowed, text.data[i], sizeof(allowed) - 1))
            return false;
    return text.length <= FORWARDED_FOR_MAX;
}

static uint16_t port_of(struct text text)
{
    uint32_t port = 0;

    for (size_t i = 0; i < text.length && i < 6; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

struct text forwarded_addresses(const struct head *head)
{
    struct text addresses = value_of(head, TEXT("x-forwarded-for"));

    return is_address_list(addresses) ? addresses : TEXT("");
}

void forwarded_read(const struct head *head, struct forwarded *ret_forwarded)
{
    struct text host = first_of(value_of(head, TEXT("x-forwarded-host")));

    *ret_forwarded = (struct forwarded){
        .host = authority_check(host) > 0 ? host : TEXT(""),
        .port = port_of(first_of(value_of(head, TEXT("x-forwarded-port")))),
        .secure = text_is_case(first_of(value_of(head, TEXT("x-forwarded-proto"))), TEXT("https")),
        .addresses = forwarded_addresses(head),
    };
}

/* The host part of an authority that was checked. */
static struct text host_of(struct text authority)
{
    return (struct text){authority.data, (size_t)authority_check(authority)};
}

size_t forwarded_authority(const struct forwarded *forwarded, struct text authority,
                           struct text domain, char *text)
{
    bool told = forwarded->host.length > 0, named = authority.length > 0;
    struct target target;

    if (named && target_from_authority(authority, domain, &target))
        told = told && text_is_case(host_of(authority), host_of(forwarded->host));
    struct text name = told ? forwarded->host : authority;
    memcpy(text, name.data, name.length);
    text[name.length] = '\0';
    size_t host = name.length > 0 ? host_of(name).length : 0;
    unsigned int usual = forwarded->secure ? 443 : 80;
    /* Host without its port is what nginx's $host makes of it; the port is told apart then. */
    if (host == 0 || host < name.length || forwarded->port == 0 || forwarded->port == usual ||
        name.length + sizeof(":65535") > AUTHORITY_MAX)
        return name.length;
    return name.length + (size_t)sprintf(text + name.length, ":%u", forwarded->port);
}

/* The element behind the last comma, which is taken off the list together with it. */
static struct text take_last(struct text *list)
{
    const char *comma = memrchr(list->data, ',', list->length);
    size_t start = comma ? (size_t)(comma - list->data) + 1 : 0;
    struct text last = {list->data + start, list->length - start};

    list->length = comma ? start - 1 : 0;
    return text_trim(last);
}

static bool is_trusted(struct text address, const struct networks *trusted)
{
    char text[INET6_ADDRSTRLEN];

    if (address.length >= sizeof(text))
        return false;
    memcpy(text, address.data, address.length);
    text[address.length] = '\0';
    return networks_hold(trusted, text);
}

struct text forwarded_client(struct text addresses, const struct networks *trusted)
{
    struct text list = addresses, address = TEXT("");

    while (list.length > 0) {
        address = take_last(&list);
        if (!is_trusted(address, trusted))
            break;
    }
    return address;
}
