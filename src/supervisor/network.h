/* Egress links. A sandbox with egress gets a veth pair: `ac<ID>` on the host, `eth0` inside, a /30
 * of the configured subnet by its slot number, and membership in our one nftables table, which
 * forwards it to public addresses only: never to the host, other sandboxes, private, link-local,
 * metadata or multicast ranges, except DNS (port 53) to the host's own name servers. A sandbox
 * without egress has no link at all. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network;

/* Parses the subnet. `table` names the nftables table (inet family) of this instance. Nothing is
 * changed on the host until the first link is made. Also removes a table left over by a crash only
 * when network_reset is called. */
int network_open(const char *subnet, const char *table, struct network **ret_network,
                 struct error *err);
void network_free(struct network *network);

/* Makes the pair, addresses, default route inside, turns on IPv4 forwarding, and adds the link to
 * the table (making the table, atomically, when it is not there). IPv6 is off on both ends. */
int network_link_create(struct network *network, const char *id, unsigned int slot, int netns_fd,
                        struct error *err);

/* Deletes link and set element; what is missing is no error. Takes up to 30 ms: called from a
 * worker process, never from the event loop. */
int network_link_remove(struct network *network, const char *id, struct error *err);

/* The name of our table. */
const char *network_table(const struct network *network);

/* Deletes our table. */
int network_remove_table(struct network *network, struct error *err);

/* Received/sent bytes of the link from the sandbox's point of view; -1 where there is no link. */
void network_link_bytes(const char *id, int64_t *ret_rx, int64_t *ret_tx);

/* Name servers that a sandbox may use, as the text of its resolv.conf: those of the host (for
 * systemd-resolved's stub, the real ones behind it, /run/systemd/resolve/resolv.conf); comment only
 * when `egress` is false. Heap, NULL when out of memory. */
char *network_resolv_conf(bool egress);

/* `n` non-blocking, close-on-exec TCP sockets of `family`, made in the network namespace. On
 * failure none is left open. The calling thread is back in its own namespace on return, or the
 * process aborts. */
int netns_sockets(int netns_fd, int family, size_t n, int *ret_fds, struct error *err);
