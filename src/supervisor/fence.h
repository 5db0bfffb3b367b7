/* What holds while there is no table: two routing rules of the host. Packets of the sandboxes'
 * subnet are forwarded only with a mark that our table gives them, so that whoever flushes the
 * ruleset shuts the sandboxes in instead of letting them out. Packets to the host itself are routed
 * before. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* The bit of the packet mark that the table sets. */
#define FENCE_MARK 0x08000000u

/* Needs CAP_NET_ADMIN. What is there already, or not any more, is no error. */
int fence_put(uint32_t base, unsigned int prefix, struct error *err);
int fence_remove(uint32_t base, unsigned int prefix, struct error *err);
