/* Policies: what a sandbox is held by, as data (policies/NAME.json).
 *
 * A file has "name" (that of the file), "description", "seccomp" (seccomp-profile.h) and may have
 *   "extends"          name of the policy that it builds on: members replace the base's, those of
 *                      "rlimits" and "limits" one by one; "allow", "deny" and "rules" of "seccomp"
 * are appended, and what "remove" names (like "deny") is taken out and denied "masked_paths" paths
 * below /proc or /sys that are covered: files by /dev/null, folders by an empty file system; one
 * that the kernel does not have is no error "read_only_paths"  the same, mounted read-only
 *   "rlimits"          of project processes: nofile, nproc, core, stack, fsize, memlock (numbers;
 * as setrlimit(2) counts each) "limits", "egress" as a request to create a sandbox has them: they
 * hold where the request is silent, and go before the configuration's. No policy gives a process a
 * capability: there is no field for that. */
#pragma once

#include "base/error.h"
#include "base/spec.h"

#include <jansson.h>

struct policy {
    struct policy *next;
    char name[65];
    int program_fd; /* compiled seccomp program, sealed memfd */
    json_t *file;   /* with everything that it extends; what follows points into it */
    json_t *masked_paths, *read_only_paths, *rlimits, *limits; /* NULL where absent */
    const char *egress;                                        /* NULL where absent */
};

struct policies {
    struct policy *first;
    const char *directory;
};

/* Reads, checks and compiles DIRECTORY/NAME.json. A bad file: the error names it and the field or
 * line, and what is allowed. -ENOENT: code "policy_not_found". */
int policy_load(const char *directory, const char *name, struct policy **ret_policy,
                struct error *err);
void policy_free(struct policy *policy);

/* Loads every *.json of the directory, all or nothing: after an error the list is as it was.
 * Sandboxes that run keep what they were started with. */
int policies_load(struct policies *policies, struct error *err);
void policies_free(struct policies *policies);

/* -EINVAL on field `policy`, with the names that there are. */
int policy_find(const struct policies *policies, const char *name, const struct policy **ret_policy,
                struct error *err);

/* Checks the text of a policy file as policy_load() does, without a name that it must have; what it
 * extends is read from the directory. Changes nothing. */
int policy_check_text(const char *directory, const char *text, struct policy **ret_policy,
                      struct error *err);

/* A fresh descriptor, with an offset of its own, on the compiled seccomp program. */
int policy_open(const struct policy *policy, struct error *err);
