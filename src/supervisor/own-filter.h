/* The system call filters of auracoded itself and of auracode-init. Both are inherited: auracoded's
 * by everything it starts, the init's by a project's processes, on top of which comes their
 * policy's (seccomp-profile.h). So they name what nobody below needs, whatever a policy says, and
 * refuse it with EPERM; the programs on the network have lists of what they may (base/confine.h).
 */
#pragma once

#include "base/error.h"

/* Compiles both; once, at start. */
int own_filters_compile(struct error *err);

/* For auracoded, when it has started: sets no_new_privs. */
int own_filter_install(struct error *err);

/* For the stage, with no_new_privs set and the mounts made. Negative errno. */
int own_filter_install_init(void);
