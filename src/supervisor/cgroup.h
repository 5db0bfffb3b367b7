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

enum controller_kind {
    CGROUP_MEMORY,
    CGROUP_CPU,
    CGROUP_CPUACCT,
    CGROUP_PIDS,
    CGROUP_IO,
    CGROUP_CONTROLLERS
};

struct cgroup_tree {
    char v2_mount[256]; /* mount point of the v2 tree */
    char name[320];     /* our group, relative to a mount point */
    char mount[CGROUP_CONTROLLERS]
              [256];             /* mount point of each controller, "" where there is none */
    bool v2[CGROUP_CONTROLLERS]; /* that controller is on the v2 tree */
    char keeper[320];            /* group of the process that keeps our unit's group, "": none */
    char io_device[24];          /* "MAJOR:MINOR" of the disk that IO limits mean, "": none */
};

/* What a new process needs to get into its groups. */
struct cgroup_entry {
    int leaf_fd;                      /* v2 leaf, for CLONE_INTO_CGROUP */
    int procs_fd[CGROUP_CONTROLLERS]; /* open cgroup.procs of v1 groups, -1 where none: the process
                                       * writes "0" itself, since the first such write in a while
                                       * stalls for about 15 ms */
};

#define CGROUP_ENTRY_NONE                                                                          \
    ((struct cgroup_entry){.leaf_fd = -1, .procs_fd = {[0 ... CGROUP_CONTROLLERS - 1] = -1}})

/* Finds the hierarchies (libcgroup); changes nothing. */
int cgroup_tree_find(struct cgroup_tree *ret_tree, struct error *err);

/* Finds the hierarchies and makes the group `name`. IO limits mean the disk that the state
 * directory `state_fd` is on. */
int cgroup_tree_open(struct cgroup_tree *ret_tree, const char *name, int state_fd,
                     struct error *err);

/* Removes the groups of `name` itself; succeeds only when no sandbox is left. */
void cgroup_tree_remove(const struct cgroup_tree *tree);

/* "v2", "v1" or "hybrid". */
const char *cgroup_tree_mode(const struct cgroup_tree *tree);

int cgroup_create(const struct cgroup_tree *tree, const char *id, unsigned int generation,
                  const struct limits *limits, struct cgroup_entry *ret_entry, struct error *err);
void cgroup_entry_close(struct cgroup_entry *entry);

/* SIGKILL to everything in the sandbox's groups. A sandbox without groups is success. */
int cgroup_kill(const struct cgroup_tree *tree, const char *id, struct error *err);

/* Stops everything in the sandbox's groups where it is, or lets it go on. */
int cgroup_freeze(const struct cgroup_tree *tree, const char *id, bool frozen, struct error *err);

/* -EBUSY while something is still in there. */
int cgroup_remove(const struct cgroup_tree *tree, const char *id, struct error *err);

/* MOUNT/NAME/ID/FILE; `id` and `file` may be "". -ENAMETOOLONG. */
int cgroup_path(const char *mount, const struct cgroup_tree *tree, const char *id, const char *file,
                char *ret_path, size_t size);

/* The path of a controller's file in a sandbox's group, by the name that it has on the version
 * which that controller is on (NULL: that version has none). -ENOENT where there is no such file.
 */
int cgroup_file(const struct cgroup_tree *tree, enum controller_kind controller, const char *id,
                const char *v1_file, const char *v2_file, char *ret_path, size_t size);

/* ---- cgroup-limits.c ---- */

/* Gives the group what changes from `from` (NULL: all of it is new) to `to`. The error is of the
 * field in question ("limits.memory") and names the kernel's reason. What was written before the
 * failure stays: the caller goes back with from and to exchanged. */
int cgroup_set_limits(const struct cgroup_tree *tree, const char *id, const struct limits *from,
                      const struct limits *to, struct error *err);

/* ---- cgroup-stats.c ---- */

/* All -1: not known. */
struct cgroup_stats {
    int64_t memory_bytes, memory_peak_bytes, memory_limit_bytes;
    int64_t swap_bytes;
    int64_t cpu_ns, cpu_user_ns, cpu_system_ns;
    int64_t cpu_periods, cpu_throttled_periods, cpu_throttled_ns; /* of the quota */
    int64_t pids, pids_limit, pids_refused; /* refused: forks that the limit made fail */
    int64_t oom_kills;                      /* processes killed for want of memory */
    int64_t io_read_bytes, io_write_bytes;  /* of all devices */
};

void cgroup_stats(const struct cgroup_tree *tree, const char *id, struct cgroup_stats *ret_stats);

/* The same as an object with a member "memory_bytes" and so on for each. */
json_t *cgroup_stats_to_json(const struct cgroup_stats *stats);

/* Calls `each` with the name of every sandbox group that exists (leftovers of a crash). */
void cgroup_each(const struct cgroup_tree *tree, void (*each)(void *userdata, const char *id),
                 void *userdata);
