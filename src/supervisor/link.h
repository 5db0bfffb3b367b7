/* Egress links: a veth pair a sandbox, `acID` on the host, `eth0` inside, with a /30 of the
 * configured subnet by its slot: the host has the first address, the sandbox the second. IPv6 is
 * off on the host's end and has no address inside. */
#pragma once

#include "base/error.h"

#include <net/if.h>
#include <stdint.h>

void link_name(const char *id, char ret_name[IFNAMSIZ]);

/* In the helper, which has CAP_NET_ADMIN: makes the pair, down, one end in that namespace; replaces
 * one that is left of an earlier incarnation, which takes up to 32 ms. */
int link_make(const char *id, int netns_fd, struct error *err);

/* Gives both ends their addresses, the sandbox its default route, and turns them on. `netlink_fd`
 * (taken): a NETLINK_ROUTE socket that was made inside. `address` (host byte order): the /30. */
int link_configure(const char *id, int netlink_fd, uint32_t address, struct error *err);

/* Takes 8 to 32 ms; what is missing is no error. */
int link_delete(const char *id, struct error *err);

/* Received/sent bytes from the sandbox's point of view; -1 where there is no link. */
void link_bytes(const char *id, int64_t *ret_rx, int64_t *ret_tx);
