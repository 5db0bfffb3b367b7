/* The operations that auracode-resolver asks, and sandbox.stats, which asks the network helper. */
#pragma once

#include "base/server.h"

struct egress_params {
    const char *id, *name;
    json_t *addresses;
    int64_t seconds, queries, refusals;
};

struct egress_list_params {
    const char *after;
};

extern const struct field egress_id_fields[1], egress_list_fields[1], egress_allow_fields[4],
    egress_count_fields[3];

int op_egress_list(struct request *request, void *params, struct error *err);
int op_egress_get(struct request *request, void *params, struct error *err);
int op_egress_sockets(struct request *request, void *params, struct error *err);
int op_egress_allow(struct request *request, void *params, struct error *err);
int op_egress_count(struct request *request, void *params, struct error *err);
int op_stats(struct request *request, void *params, struct error *err);
