/* What the init was started with: the boot configuration and the seccomp program for the project's
 * processes. Read once from the passed descriptors. */
#pragma once

#include "base/error.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

enum boot_fd {
    BOOT_FD_LISTEN = 3,
    BOOT_FD_CONFIG = 4,
    BOOT_FD_SECCOMP = 5,
    BOOT_FD_STATUS = 6,
    BOOT_FD_COUNTERS = 7, /* and the following, by enum boot_counter */
};

/* Files of the sandbox's control group, read-only (counters.h); an empty file where the kernel has
 * none: v2 name / v1 name. */
enum boot_counter {
    BOOT_MEMORY_EVENTS, /* memory.events / memory.oom_control */
    BOOT_MEMORY_PEAK,   /* memory.peak / memory.max_usage_in_bytes */
    BOOT_MEMORY_LIMIT,  /* memory.max / memory.limit_in_bytes */
    BOOT_PIDS_EVENTS,   /* pids.events */
    BOOT_PIDS_LIMIT,    /* pids.max */
    BOOT_COUNTERS,
};

struct boot {
    json_t *document; /* the strings and objects below point into it */
    const char *sandbox, *hostname, *egress;
    int64_t generation;
    int64_t log_bytes;     /* of one process, 256 KiB to 64 MiB */
    int64_t processes_max; /* live at once, 1 to 4096 */
    json_t *env, *rlimits;
    json_t *landlock;  /* the policy's section (base/landlock.h, forker.h); NULL: none */
    json_t *image_env; /* /etc/environment of the image */
    struct sock_fprog filter;
};

extern struct boot boot;

/* Reads and closes BOOT_FD_CONFIG and BOOT_FD_SECCOMP. */
int boot_read(struct error *err);

/* "KEY=VALUE" of a process, NULL-terminated; free with environment_free. `env` may be NULL. */
char **environment_new(bool as_root, bool tty, json_t *env, struct error *err);
void environment_free(char **environment);
