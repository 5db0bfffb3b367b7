/* Lists of addresses and networks in configuration: "127.0.0.1, 10.0.0.0/8, fd00::/8". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETWORKS_MAX 32u /* of one list */

struct network {
    int family; /* AF_INET, AF_INET6 */
    unsigned int prefix;
    unsigned char address[16];
};

struct networks {
    struct network list[NETWORKS_MAX];
    size_t count;
};

/* Separated by commas, spaces or both; an address alone is a network of one. 0, -EINVAL, or -E2BIG
 * for more than NETWORKS_MAX. */
int networks_parse(const char *text, struct networks *ret_networks);

/* `address` is numeric; what is no address is in no network. */
bool networks_hold(const struct networks *networks, const char *address);
