/* Jobs that may block (deleting trees, copying layers, deleting links) run in a forked copy of the
 * supervisor. A supervisor that is killed leaves the worker running; whatever it did not finish is
 * found and done again at the next start. */
#pragma once

#include "supervisor/supervisor.h"

#include "base/error.h"

/* `job` runs in the worker and returns 0 or -errno with err set; `done` runs in the supervisor (may
 * be NULL). `userdata` is shared by copy: what the job changes is lost. */
int worker_start(struct supervisor *supervisor, int (*job)(void *userdata, struct error *err),
                 void (*done)(void *userdata, const struct error *err), void *userdata,
                 struct error *err);
