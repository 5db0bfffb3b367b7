/* A second nftables table, which holds while the first is gone: what a sandbox's link brings
 * without the mark that the first table gives (fence.h) is dropped before it reaches the host
 * itself, over IPv4 and IPv6. The kernel lets nobody but the helper change or flush it
 * (NFT_TABLE_F_OWNER, Linux 5.12), and deletes it with the helper; then the first table is there.
 */
#pragma once

#include "supervisor/nft.h"

/* Makes it, or makes it anew, for the links of these sandboxes, in one transaction. Sets
 * `table->guarded`, to false where the kernel has no owned tables. */
int nft_guard_make(struct nft_table *table, json_t *sandboxes, struct error *err);

/* Adds a command for one link: "add", or "delete". */
void nft_guard_link(json_t *commands, const struct nft_table *table, const char *verb,
                    const char *link);
