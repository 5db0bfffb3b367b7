/* Theory of operation: see special.h. */
#include "base/special.h"

#define IP(a, b, c, d) (((uint32_t)(a) << 24) | ((b) << 16) | ((c) << 8) | (d))

const struct special_range special_ranges[] = {
    {"0.0.0.0", IP(0, 0, 0, 0), 8},          {"10.0.0.0", IP(10, 0, 0, 0), 8},
    {"100.64.0.0", IP(100, 64, 0, 0), 10},   {"127.0.0.0", IP(127, 0, 0, 0), 8},
    {"169.254.0.0", IP(169, 254, 0, 0), 16}, {"172.16.0.0", IP(172, 16, 0, 0), 12},
    {"192.0.0.0", IP(192, 0, 0, 0), 24},     {"192.88.99.0", IP(192, 88, 99, 0), 24},
    {"192.168.0.0", IP(192, 168, 0, 0), 16}, {"198.18.0.0", IP(198, 18, 0, 0), 15},
    {"224.0.0.0", IP(224, 0, 0, 0), 4},      {"240.0.0.0", IP(240, 0, 0, 0), 4},
};

const size_t n_special_ranges = sizeof(special_ranges) / sizeof(special_ranges[0]);

bool special_overlaps(uint32_t base, unsigned int prefix)
{
    for (size_t i = 0; i < n_special_ranges; i++) {
        const struct special_range *range = &special_ranges[i];
        uint32_t mask = prefix_mask(prefix < range->prefix ? prefix : range->prefix);
        if ((base & mask) == (range->base & mask))
            return true;
    }
    return false;
}

bool special_never(uint32_t base, unsigned int prefix)
{
    static const struct special_range never[] = {
        {"", IP(0, 0, 0, 0), 8}, {"", IP(127, 0, 0, 0), 8}, {"", IP(224, 0, 0, 0), 3}};

    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (prefix >= never[i].prefix && (base & prefix_mask(never[i].prefix)) == never[i].base)
            return true;
    return false;
}
