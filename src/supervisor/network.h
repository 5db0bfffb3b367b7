/* What the supervisor itself knows of networks: the subnet, the table's name, resolv.conf, and
 * sockets that belong to a sandbox's network namespace. What changes links and the packet filter is
 * the helper's (net-helper.h). */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subnet {
    char table[80];   /* of nftables */
    char address[16]; /* dotted */
    uint32_t base;    /* the same, host byte order */
    unsigned int prefix;
};

/* Parses a.b.c.d/8 to /30; `cgroup` is what the table is named after. */
int subnet_parse(const char *text, const char *cgroup, struct subnet *ret_subnet,
                 struct error *err);

/* The /30 of a slot, in host byte order; -ENOSPC when the subnet has none left. */
int subnet_slot(const struct subnet *subnet, const char *id, unsigned int slot,
                uint32_t *ret_address, struct error *err);

/* Where the resolver listens inside each sandbox (auracode-resolver). */
#define RESOLVER_ADDRESS "127.0.0.53"
#define RESOLVER_PORT    53

/* resolv.conf of every sandbox. Without egress nobody listens there, and lookups fail at once. */
#define RESOLV_CONF "nameserver " RESOLVER_ADDRESS "\noptions timeout:5 attempts:2\n"

/* IPv4 addresses of the host's name servers, an array of strings; new reference. */
json_t *host_name_servers(void);

/* `n` non-blocking, close-on-exec TCP sockets of `family`, made in the network namespace. On
 * failure none is left open. The calling thread is back in its own namespace on return, or the
 * process aborts. */
int netns_sockets(int netns_fd, int family, size_t n, int *ret_fds, struct error *err);

/* The same: a UDP and a listening TCP socket where the resolver listens. */
int netns_resolver_sockets(int netns_fd, int ret_fds[2], struct error *err);

/* The same: a NETLINK_ROUTE socket. Returns it. */
int netns_netlink(int netns_fd, struct error *err);
