/* The network helper: a process that auracoded forks, with CAP_NET_ADMIN alone, a filter of its own
 * and one socket, which does everything that changes links and the packet filter: libnftables takes
 * milliseconds and deleting a link up to 32, which auracoded's loop must not wait for and a sandbox
 * can cause. It reads nothing from a network or a sandbox; it takes the supervisor's requests one
 * after the other (server.h):
 *
 *   hello         table, subnet, prefix -> {}
 *   sandbox.set   sandbox, rules (nft.h) -> {}: kept; in force at once after `commit`
 *   commit        adopt -> {}: the table is made anew of what is kept, counters going on; with
 *                 `adopt` (bool) also the addresses that the kernel has
 *   link.add      sandbox, address (of its /30), rules, 2 descriptors (its network namespace, a
 *                 NETLINK_ROUTE socket made there) -> {}: rules first, then the link
 *   link.remove   sandbox -> {}: rules at once, the link when nothing else waits
 *   addresses.add sandbox, addresses (nft.h, at most 256) -> {}
 *   counters.get  sandbox -> {"counters":[4]}
 *
 * It watches the kernel's nftables events: a table that somebody else has deleted or emptied is
 * made again at once. When its socket ends it ends, and leaves the table in force. */
#pragma once

#include "base/error.h"

/* In the forked child, with every capability that auracoded has; `fd` is its only descriptor. */
_Noreturn void net_helper_run(int fd);
