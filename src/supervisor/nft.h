/* Our one nftables table, through libnftables' JSON interface. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct nft_rules {
    const char *table;   /* name, inet family */
    const char *subnet;  /* "10.213.0.0" */
    unsigned int prefix; /* its length */
};

/* Makes the table whole in one transaction, replacing one of that name; `links` are the interface
 * names already in it (JSON array of strings). */
int nft_table_create(const struct nft_rules *rules, const json_t *links, struct error *err);
int nft_table_remove(const char *table, struct error *err);

/* Adds to or removes from the set `links`. -ENOENT (for example) when the table is not there. */
int nft_link_add(const char *table, const char *link, struct error *err);
int nft_link_remove(const char *table, const char *link, struct error *err);
