/* One policy file on its own: what it may say, before what it extends is known. The same rules as
 * policies/policy.schema.json, which tests/system/policies.test.mjs holds against these. */
#pragma once

#include "base/error.h"

#include <jansson.h>

struct policy_file {
    const char *name, *description, *extends, *comment;
    json_t *egress;
    json_t *seccomp, *capabilities, *masked_paths, *read_only_paths, *rlimits, *limits, *landlock;
};

/* Checks everything that needs no other file; the error's field is the whole path of what is wrong
 * and the message says what is allowed. The members are borrowed from `file`. */
int policy_file_decode(const json_t *file, struct policy_file *ret_decoded, struct error *err);

/* A new reference to what a request to create a sandbox would say: "limits" without its comment;
 * NULL where the policy is silent. */
json_t *policy_file_limits(const struct policy_file *file);
