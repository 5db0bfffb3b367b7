/* Policies by name: each is compiled when the first sandbox needs it and kept. */
#pragma once

#include "base/error.h"

struct policy;

struct policies {
    struct policy *first;
    const char *directory;
};

/* A fresh descriptor, with an offset of its own, on the compiled seccomp program of policy `name`.
 */
int policy_open(struct policies *policies, const char *name, struct error *err);

void policies_free(struct policies *policies);
