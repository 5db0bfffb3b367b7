/* From flat egress rules (bundles.h) to what the packet filter is told (nft.h), and the check of
 * what the resolver asks to open. Without any state. */
#pragma once

#include "base/egress.h"

/* The mark of connections that these rules let out: never 0, and another for other rules. */
json_int_t egress_mark(const json_t *egress, const json_t *flat);

/* nft.h's "networks"; new reference. */
json_t *egress_networks(const json_t *flat);

/* Whether a domain rule means that name. */
bool egress_names(const json_t *flat, const char *name);

/* {"name","address","until"} of each address, an array; -EPERM when no domain rule means the name,
 * or an address is not public. */
int egress_found(const json_t *flat, const char *name, const json_t *addresses, int64_t until,
                 json_t **ret_found, struct error *err);

/* Removes from `kept`, an array of objects with "until" (ms of CLOCK_MONOTONIC), the expired ones
 * and those that are the `same` as one of `found`. */
typedef bool egress_same(const json_t *a, const json_t *b);
void egress_drop(json_t *kept, const json_t *found, egress_same *same);

/* Adds `found` to `kept`, in place of the same pairs; expired ones go. -ENOSPC for more than `max`.
 */
int egress_keep(json_t *kept, const json_t *found, size_t max, struct error *err);

/* nft.h's "addresses" of those found, by the rules that mean their names; new reference. */
json_t *egress_addresses(const json_t *flat, const json_t *found);
