/* A sandbox for the tests of auracode-init, without the supervisor: user, mount, PID, network, IPC
 * and UTS namespaces over a tmpfs with the host's /usr and /etc, and the descriptors of the boot
 * contract. Needs root. */
#pragma once

#include "base/rpc.h"

#include <sys/types.h>

#define SANDBOX_ID_BASE 231072u /* host id of the sandbox's root */

struct sandbox {
    pid_t keeper; /* our child; ends with the status of the init */
    char directory[32];
    int directory_fd;
};

/* Starts `init_path` as PID 1 and waits for its status line. Fails the test when it does not come.
 * In the sandbox, /helper is the running test program. */
void sandbox_start(struct sandbox *sandbox, const char *init_path);

/* A connection with that role ("" says no hello). */
void sandbox_connect(const struct sandbox *sandbox, const char *role, struct rpc *ret_rpc);

/* A signal from the host to the init. */
void sandbox_signal(const struct sandbox *sandbox, int signal);

/* Waits for the end of the init, at most 10 s; its exit status. */
int sandbox_wait(struct sandbox *sandbox);

/* Shuts it down if it still runs. */
void sandbox_stop(struct sandbox *sandbox);
