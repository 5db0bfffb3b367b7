/* The files in which the kernel counts for a sandbox's control group, on v1 and v2 alike. */
#pragma once

#include "supervisor/cgroup.h"

/* Same order as enum boot_counter of init/boot.h. */
enum counter_file {
    COUNTER_MEMORY_EVENTS, /* memory.events / memory.oom_control */
    COUNTER_MEMORY_PEAK,   /* memory.peak / memory.max_usage_in_bytes */
    COUNTER_MEMORY_LIMIT,  /* memory.max / memory.limit_in_bytes */
    COUNTER_PIDS_EVENTS,   /* pids.events */
    COUNTER_PIDS_LIMIT,    /* pids.max */
    COUNTER_FILES,
};

/* Opens all of them read-only: init gets them at boot and keeps them for life. What the kernel does
 * not have becomes /dev/null, which reads as empty. */
int counters_open(const struct cgroup_tree *tree, const char *id, int ret_fds[COUNTER_FILES],
                  struct error *err);
