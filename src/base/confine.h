/* How a host program that listens to the network gives up what it does not need, once it has
 * started.
 *
 * The supervisor starts it in a mount namespace of its own, as its own user, with no_new_privs and
 * with one capability, CAP_SYS_CHROOT, and passes a folder as the descriptor "root"
 * (supervisor/jail.h). When everything is open the program enters that folder, drops the capability
 * and filters its system calls; nothing of the host's file system can be named from then on.
 *
 * Of a call that is not listed: EPERM. Of one that only an attacker makes (execve, ptrace,
 * mount...): the process is killed. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* An entry of a list of system calls; with `mask`, only if (argument & mask) == equals. Several
 * entries of one call are alternatives. */
struct confine_call {
    const char *name;
    unsigned int argument; /* 0..5 */
    unsigned int mask;     /* 0: any arguments */
    unsigned int equals;
};

/* Before any thread is started: takes the descriptor "root" (passed-fds.h), makes it the root,
 * drops every capability and installs a filter of `calls` and of what every program needs (memory,
 * time, signals, its own end). The supervisor's socket is at ./supervisor.sock afterwards. */
int confine(const struct confine_call *calls, size_t n_calls, struct error *err);

/* The filter alone, for a process that keeps its root and has dropped what it can itself. Needs
 * no_new_privs. */
int confine_calls(const struct confine_call *calls, size_t n_calls, struct error *err);
