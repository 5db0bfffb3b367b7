/* Which end was an OOM kill. The kernel counts them for the sandbox as a whole and tells a parent a
 * plain SIGKILL. */
#pragma once

#include "init/counters.h"

#include <stdbool.h>

/* From now on the kernel's notifications are served (v2; on v1 there are none). */
void oom_init(void);

/* Looks at the counter; to be called from time to time while anything runs, and with each reading.
 */
void oom_observe(const struct counters *counters);

/* A child has died of a SIGKILL that nobody of us sent, and the counter has been observed: whether
 * that was an OOM kill. */
bool oom_take_kill(void);
