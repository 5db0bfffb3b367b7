/* Policies: what a sandbox is held by, as data (policies/NAME.json). policies/policy.schema.json
 * tells all of it, to people and to editors.
 *
 * A file has "name" (that of the file), "description", "seccomp" (seccomp-profile.h) and may have
 *   "extends"          name of the policy that it builds on (policy-merge.h)
 *   "capabilities"     of the init, below a ceiling (capabilities.h)
 *   "masked_paths"     paths below /proc or /sys that are covered, files by /dev/null, folders by
 *                      an empty file system; singly or in groups with a reason (grouped.h). One
 *                      that the kernel does not have is no error
 *   "read_only_paths"  the same, mounted read-only
 *   "landlock"         what the init puts on itself and on processes (landlock-profile.h)
 *   "rlimits"          of project processes: nofile, nproc, core, stack, fsize, memlock (numbers;
 *                      as setrlimit(2) counts each)
 *   "limits", "egress" as a request to create a sandbox has them: they hold where the request is
 *                      silent, and go before the configuration's
 * and "comment" in every object. */
#pragma once

#include "base/error.h"
#include "base/spec.h"

#include <jansson.h>

/* Of one file: what `policy.check` can carry in a packet. */
#define POLICY_MAX_BYTES 49152

struct policy {
    struct policy *next;
    char name[65];
    int program_fd; /* compiled seccomp program, sealed memfd */
    json_t *file;   /* with everything that it extends; what follows points into it */
    json_t *masked_paths, *read_only_paths, *rlimits, *landlock; /* NULL where absent */
    json_t *egress;                                              /* NULL where absent */
    json_t *limits;             /* owned; without comments; NULL where absent */
    uint64_t init_capabilities; /* mask of what the init keeps */
};

struct policies {
    struct policy *first;
    const char *directory;
};

/* Reads, checks and compiles DIRECTORY/NAME.json. A bad file: the error says FILE:LINE, the field
 * and what is allowed; FILE may be one that it extends. -ENOENT: code "policy_not_found". */
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
 * extends is read from the directory. `label` is what errors call the file. Changes nothing. */
int policy_check_text(const char *directory, const char *label, const char *text,
                      struct policy **ret_policy, struct error *err);

/* A fresh descriptor, with an offset of its own, on the compiled seccomp program. */
int policy_open(const struct policy *policy, struct error *err);
