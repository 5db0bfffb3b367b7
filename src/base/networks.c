/* Theory of operation: see networks.h. Addresses are compared as bit strings. */
#include "base/networks.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define SEPARATORS ", \t"
#define ITEM_MAX   64u /* an IPv6 address with its prefix, and no more */

static int parse_address(const char *text, struct network *ret_network)
{
    for (int family = AF_INET;; family = AF_INET6) {
        if (inet_pton(family, text, ret_network->address) == 1) {
            ret_network->family = family;
            ret_network->prefix = family == AF_INET ? 32 : 128;
            return 0;
        }
        if (family == AF_INET6)
            return -EINVAL;
    }
}

static int parse_one(const char *text, size_t length, struct network *ret_network)
{
    char item[ITEM_MAX];
    uint64_t prefix;

    if (length >= sizeof(item))
        return -EINVAL;
    memcpy(item, text, length);
    item[length] = '\0';
    char *slash = strchr(item, '/');
    if (slash)
        *slash = '\0';
    int r = parse_address(item, ret_network);
    if (r < 0 || !slash)
        return r;
    if (parse_u64(slash + 1, 0, ret_network->prefix, &prefix) < 0)
        return -EINVAL;
    ret_network->prefix = (unsigned int)prefix;
    return 0;
}

int networks_parse(const char *text, struct networks *ret_networks)
{
    struct networks networks = {.count = 0};

    for (text += strspn(text, SEPARATORS); *text; text += strspn(text, SEPARATORS)) {
        size_t length = strcspn(text, SEPARATORS);
        if (networks.count == NETWORKS_MAX)
            return -E2BIG;
        int r = parse_one(text, length, &networks.list[networks.count++]);
        if (r < 0)
            return r;
        text += length;
    }
    *ret_networks = networks;
    return 0;
}

static bool holds(const struct network *network, const struct network *address)
{
    unsigned int bytes = network->prefix / 8, bits = network->prefix % 8;
    unsigned int mask = 0xffu & ~(0xffu >> bits);

    return network->family == address->family &&
           memcmp(network->address, address->address, bytes) == 0 &&
           (bits == 0 || ((network->address[bytes] ^ address->address[bytes]) & mask) == 0);
}

bool networks_hold(const struct networks *networks, const char *address)
{
    struct network one;

    if (parse_address(address, &one) < 0)
        return false;
    for (size_t i = 0; i < networks->count; i++)
        if (holds(&networks->list[i], &one))
            return true;
    return false;
}
