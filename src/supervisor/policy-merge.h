/* What a policy is that builds on another ("extends"). */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* Lays the members of a checked policy file over those of its base, in the base: members replace
 * the base's, those of objects one by one; lists of "seccomp" are appended, and what "remove" names
 * is taken out of them and denied. -ENOMEM. */
int policy_merge(json_t *base, json_t *child, struct error *err);
