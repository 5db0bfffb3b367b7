/* Theory of operation: see address.h. Of IPv6 little is public, so that is listed. */
#include "hook/address.h"

#include "base/cleanup.h"
#include "base/special.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

static const struct {
    unsigned char prefix[16];
    unsigned int bits;
} never[] = {
    {{0x20, 0x01, 0x00, 0x00}, 32},             /* Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},             /* documentation */
    {{0x20, 0x02}, 16},                         /* 6to4 */
    {{0x3f, 0xff}, 20},                         /* documentation (RFC 9637) */
    {{0x20, 0x01, 0x00, 0x10}, 28},             /* ORCHID */
    {{0x20, 0x01, 0x00, 0x20}, 28},             /* ORCHIDv2 */
    {{0x20, 0x01, 0x00, 0x02, 0x00, 0x00}, 48}, /* benchmarking */
};
static const unsigned char public_prefix[16] = {0x20}; /* 2000::/3 */

static bool begins_with(const unsigned char *address, const unsigned char *prefix,
                        unsigned int bits)
{
    unsigned int bytes = bits / 8, rest = bits % 8;
    unsigned char mask = (unsigned char)(0xff00u >> rest);

    return memcmp(address, prefix, bytes) == 0 &&
           (rest == 0 || ((address[bytes] ^ prefix[bytes]) & mask) == 0);
}

static bool ip6_is_public(const unsigned char *address)
{
    for (size_t i = 0; i < ELEMENTS(never); i++)
        if (begins_with(address, never[i].prefix, never[i].bits))
            return false;
    return begins_with(address, public_prefix, 3);
}

static bool ip4_is_public(uint32_t address)
{
    return !special_overlaps(address, 32);
}

bool address_is_public(const struct sockaddr *address)
{
    const struct sockaddr_in *ip4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)address;
    uint32_t mapped;

    if (address->sa_family == AF_INET)
        return ip4_is_public(ntohl(ip4->sin_addr.s_addr));
    if (address->sa_family != AF_INET6)
        return false;
    if (!IN6_IS_ADDR_V4MAPPED(&ip6->sin6_addr))
        return ip6_is_public(ip6->sin6_addr.s6_addr);
    memcpy(&mapped, ip6->sin6_addr.s6_addr + 12, sizeof(mapped));
    return ip4_is_public(ntohl(mapped));
}
