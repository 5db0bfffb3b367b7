/* IPv4 addresses that are not public: what restricted egress refuses, what no answer of a name
 * server may lead to, and what an egress rule of a tenant may not name. One table, from IANA's
 * special-purpose registry (RFC 6890 and its updates): private, shared, link-local (with the
 * clouds' metadata services), loopback, reserved and multicast ranges. The documentation networks
 * of RFC 5737 are nobody's and lead nowhere, so they are left in for tests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct special_range {
    const char *address;
    uint32_t base; /* host byte order */
    unsigned int prefix;
};

extern const struct special_range special_ranges[];
extern const size_t n_special_ranges;

/* Whether any address of base/prefix (host byte order, 0 <= prefix <= 32) is in the table. */
bool special_overlaps(uint32_t base, unsigned int prefix);

/* Whether all of base/prefix is loopback, "this network", multicast or reserved: what no rule can
 * open. */
bool special_never(uint32_t base, unsigned int prefix);

/* All ones in the first `prefix` bits. */
static inline uint32_t prefix_mask(unsigned int prefix)
{
    return prefix == 0 ? 0 : ~(uint32_t)0 << (32 - prefix);
}
