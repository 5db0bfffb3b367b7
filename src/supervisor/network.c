/* Theory of operation: see network.h. */
#include "supervisor/network.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Names in nftables allow no dots. */
static void set_table_name(struct subnet *subnet, const char *cgroup)
{
    snprintf(subnet->table, sizeof(subnet->table), "%s", cgroup);
    for (char *c = subnet->table; *c; c++)
        if (*c == '.' || *c == '-')
            *c = '_';
}

int subnet_parse(const char *text, const char *cgroup, struct subnet *ret_subnet, struct error *err)
{
    struct subnet subnet = {0};
    const char *slash = strchr(text, '/');
    struct in_addr address;
    uint64_t prefix;

    if (!slash || (size_t)(slash - text) >= sizeof(subnet.address) ||
        parse_u64(slash + 1, 8, 30, &prefix) < 0)
        return error_set_field(err, "sandbox.subnet", "expected a.b.c.d/8 to /30");
    memcpy(subnet.address, text, (size_t)(slash - text));
    if (inet_pton(AF_INET, subnet.address, &address) != 1)
        return error_set_field(err, "sandbox.subnet", "`%s` is no IPv4 address", subnet.address);
    subnet.base = ntohl(address.s_addr);
    subnet.prefix = (unsigned int)prefix;
    set_table_name(&subnet, cgroup);
    *ret_subnet = subnet;
    return 0;
}

int subnet_slot(const struct subnet *subnet, const char *id, unsigned int slot,
                uint32_t *ret_address, struct error *err)
{
    if ((slot + 1) * 4 > 1u << (32 - subnet->prefix))
        return error_set(err, ENOSPC, "[sandbox] subnet has no addresses left for sandbox %s", id);
    *ret_address = subnet->base + slot * 4;
    return 0;
}
