/* The one nftables table (inet family) of this instance, in the helper (net-helper.h), which alone
 * has libnftables run. A sandbox is described by
 *
 *   {"mode":"restricted"|"allow","mark":N,
 *    "networks":[{"address","prefix","protocol"?,"ports":[]?,"special":bool}],
 *    "addresses":[{"address","until","protocol"?,"ports":[]?}],   (until: ms of CLOCK_MONOTONIC)
 *    "counters":[packets, bytes accepted, packets, bytes refused]} (what they start from)
 *
 * IPv6 has no way out: the links have it off, and the rules refuse it all the same. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct nft_table {
    const char *name;
    const char *subnet; /* address of the network that is masqueraded */
    unsigned int prefix;
    bool guarded; /* nft-guard.h: there is a guard, which is to know the links */
};

/* Replaces the whole table, in one transaction; `sandboxes`: by id. */
int nft_table_replace(const struct nft_table *table, json_t *sandboxes, struct error *err);
/* Runs nft(8) commands, in one transaction. */
int nft_run_text(const char *text, struct error *err);

/* Deletes the table; absent is as good. */
int nft_table_remove(const char *name, struct error *err);

/* Adds one sandbox or replaces all of its rules and addresses, in one transaction; its counters go
 * on. */
int nft_sandbox_set(const struct nft_table *table, const char *id, json_t *sandbox,
                    struct error *err);
int nft_sandbox_remove(const struct nft_table *table, const char *id, struct error *err);

/* Adds to the addresses of a sandbox; those that are there get the new time. */
int nft_addresses_add(const struct nft_table *table, const char *id, json_t *list,
                      struct error *err);

/* Adds those that the kernel has of a sandbox to `list`; none is no error. */
void nft_addresses_read(const struct nft_table *table, const char *id, json_t *list);

/* Packets and bytes accepted, packets and bytes refused. */
int nft_counters(const struct nft_table *table, const char *id, json_int_t ret_values[4],
                 struct error *err);
