/* What happens in a new sandbox between clone3 and the execution of auracode-init.
 *
 * The stage runs as a copy of the supervisor, already in new user, mount, pid, ipc, uts and network
 * namespaces but without an id. It waits for one packet from the supervisor: the ids are mapped,
 * and here are the idmapped mounts. Everything else it was told before it was cloned. It trusts
 * nothing below the sandbox's root: each mount point there is opened without following links and
 * mounts go onto descriptors. */
#pragma once

#include "supervisor/counters.h"
#include "supervisor/policy.h"

#include <stddef.h>

#define STAGE_LAYERS_MAX 8 /* template layers below the upper one */
#define STAGE_VIEWS      5 /* files that show limits: views.h */

/* Mounts from the supervisor: layers, lowest first, then data, then the views. */
#define STAGE_MOUNTS_MAX (STAGE_LAYERS_MAX + 1 + STAGE_VIEWS)

struct stage {
    int sync_fd; /* our end of a SEQPACKET pair */
    int init_fd; /* auracode-init, sealed memfd */
    int listen_fd, boot_fd, seccomp_fd,
        status_fd;                  /* become 3, 4, 5, 6 (see boot contract in init/main.c) */
    int counter_fds[COUNTER_FILES]; /* become 7 and the following */
    struct cgroup_entry *cgroup;
    const struct policy *policy;
    size_t n_layers;
    const char *hostname;
    const char *resolv_conf, *hosts; /* contents */
    size_t tmp_bytes, shm_bytes;     /* sizes of /tmp and /dev/shm */
};

/* Never returns. A failure is written to status_fd as {"error":{…}}. */
_Noreturn void stage_run(const struct stage *stage);
