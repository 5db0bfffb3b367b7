/* The kernel's events of nftables (group NFNLGRP_NFTABLES): who took something out of our table. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct nl_sock;

struct nft_events {
    int fd; /* readable: call nft_events_foreign() */
    struct nl_sock *socket;
    const char *table;
    uint32_t own_pid; /* as the kernel sees us; 0: not known yet */
    bool touched;     /* by the transaction that is being told */
    bool overflowed;
    uint32_t last_pid; /* of the last transaction that was told */
    bool foreign;      /* something was taken out by another */
};

int nft_events_open(struct nft_events *events, struct error *err);

/* From now on that table is ours; borrowed. */
void nft_events_watch(struct nft_events *events, const char *table);

/* After a transaction of our own: reads what it caused, and learns our pid from it. */
void nft_events_own(struct nft_events *events);

/* Reads what there is; true once when another has taken something out of our table, or events were
 * lost. */
bool nft_events_foreign(struct nft_events *events);
