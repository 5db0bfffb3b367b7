/* Named lists of egress rules, as data: {"npm":{"description":..,"rules":[..]}, ...}, rules as
 * base/egress.h has them, without bundles in bundles. */
#pragma once

#include "base/egress.h"

#define EGRESS_FLAT_MAX 256u /* rules of one sandbox once bundles are replaced by theirs */

/* Reads and checks the file; errors name it and the field. */
int bundles_load(const char *path, json_t **ret_bundles, struct error *err);

/* That every bundle of `egress` is there, naming those that are, and that it comes to at most
 * EGRESS_FLAT_MAX rules. */
int bundles_check(const json_t *bundles, const json_t *egress, struct error *err);

/* The rules of `egress` with bundles replaced; one that is gone is left out. New reference. */
json_t *bundles_expand(const json_t *bundles, const json_t *egress);
