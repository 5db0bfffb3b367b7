/* Which TCP ports are listened on in the sandbox, by one dump of the kernel's socket table.
 *
 * Latency: nothing in the kernel tells when a socket starts to listen, so the table is read every
 * 25 ms while a service starts and every 250 ms while any other process lives; a change is known
 * that much later at most. With no process alive, nothing is read. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORTS_MAX 512u

struct port {
    uint16_t port;  /* host order */
    uint8_t family; /* AF_INET, AF_INET6 */
    uint8_t address[16];
};

struct port_set {
    struct port ports[PORTS_MAX]; /* sorted by port, family, address; no duplicates */
    size_t count;
};

/* Reads the table; what is over PORTS_MAX is left out. -errno. */
int ports_read(struct port_set *ret_set, struct error *err);

/* Adds the sockets of one netlink datagram. 1: the dump is complete, 0: more to come, -errno. */
int ports_parse(const void *data, size_t length, struct port_set *set);

/* Brings what ports_parse has added into order. */
void ports_sort(struct port_set *set);

bool ports_equal(const struct port_set *a, const struct port_set *b);
bool ports_listening(const struct port_set *set, int64_t port);

/* Array of port objects of protocol.h; new reference or NULL. */
json_t *ports_to_json(const struct port_set *set);
