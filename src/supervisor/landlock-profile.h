/* The "landlock" section of a policy: what the init of a sandbox puts on itself and on processes.
 *   "sandbox"  rules for everything in the sandbox: its init, its root, its user
 *   "user"     rules for processes of the project's user, besides
 *   "scopes", "tcp"  for everything in the sandbox
 * base/landlock.h tells the form of each. */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* The error names the field's whole path and what is allowed. NULL is fine. */
int landlock_profile_check(const json_t *landlock, struct error *err);
