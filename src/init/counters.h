/* What the kernel counts for the sandbox's control group: memory, OOM kills, refused forks. The
 * files come open from the supervisor (boot.h), read-only; they have the same form on v1 and v2. */
#pragma once

#include <stdint.h>

struct counters {         /* -1: not known, or no limit */
    int64_t oom_kills;    /* since the sandbox was started */
    int64_t memory_high;  /* times that it was throttled at memory.high; v2 only */
    int64_t memory_peak;  /* bytes */
    int64_t memory_limit; /* bytes */
    int64_t pids_refused; /* forks that limits.pids refused, since the sandbox was started */
    int64_t pids_limit;
};

/* To be called once, before any process is started: keeps the descriptors from children. */
void counters_open(void);

void counters_read(struct counters *ret_counters);
