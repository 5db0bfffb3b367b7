/* Control groups on v2, v1 and hybrid trees.
 *
 * Each sandbox has one group NAME/ID that carries its limits, and below it, in the v2 tree, one
 * leaf gN for each incarnation: after cgroup.kill a leaf kills every newcomer, so a leaf is never
 * used twice. Where the controllers are on v1, limits lie in NAME/ID of each v1 hierarchy, and the
 * v2 tree without controllers still serves life cycle (clone into the leaf, cgroup.kill). */
#pragma once

#include "base/error.h"
#include "base/spec.h"

#include <stdbool.h>
#include <stdint.h>

enum controller_kind { CGROUP_MEMORY, CGROUP_CPU, CGROUP_CPUACCT, CGROUP_PIDS, CGROUP_CONTROLLERS };

struct cgroup_tree {
    char v2_mount[256]; /* mount point of the v2 tree */
    char name[320];     /* our group, relative to a mount point */
    char mount[CGROUP_CONTROLLERS]
              [256];             /* mount point of each controller, "" where there is none */
    bool v2[CGROUP_CONTROLLERS]; /* that controller is on the v2 tree */
};

/* What a new process needs to get into its groups. */
struct cgroup_entry {
    int leaf_fd;                      /* v2 leaf, for CLONE_INTO_CGROUP */
    int procs_fd[CGROUP_CONTROLLERS]; /* open cgroup.procs of v1 groups, -1 where none: the process
                                       * writes "0" itself, since the first such write in a while
                                       * stalls for about 15 ms */
};

/* Finds the hierarchies (libcgroup); changes nothing. */
int cgroup_tree_find(struct cgroup_tree *ret_tree, struct error *err);

/* Finds the hierarchies and makes the group `name`. */
int cgroup_tree_open(struct cgroup_tree *ret_tree, const char *name, struct error *err);

/* Removes the groups of `name` itself; succeeds only when no sandbox is left. */
void cgroup_tree_remove(const struct cgroup_tree *tree);

/* "v2", "v1" or "hybrid". */
const char *cgroup_tree_mode(const struct cgroup_tree *tree);

int cgroup_create(const struct cgroup_tree *tree, const char *id, unsigned int generation,
                  const struct limits *limits, struct cgroup_entry *ret_entry, struct error *err);
void cgroup_entry_close(struct cgroup_entry *entry);

/* SIGKILL to everything in the sandbox's groups. A sandbox without groups is success. */
int cgroup_kill(const struct cgroup_tree *tree, const char *id, struct error *err);

/* -EBUSY while something is still in there. */
int cgroup_remove(const struct cgroup_tree *tree, const char *id, struct error *err);

struct cgroup_stats {
    int64_t memory_bytes, memory_peak_bytes,
        memory_limit_bytes; /* -1: unknown, as is every figure */
    int64_t cpu_ns;
    int64_t pids, pids_limit;
    int64_t oom_kills;
};

void cgroup_stats(const struct cgroup_tree *tree, const char *id, struct cgroup_stats *ret_stats);

/* Calls `each` with the name of every sandbox group that exists (leftovers of a crash). */
void cgroup_each(const struct cgroup_tree *tree, void (*each)(void *userdata, const char *id),
                 void *userdata);
