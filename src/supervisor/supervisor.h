/* The supervisor's own state: one object, handed to everything. Single-threaded on one sd-event
 * loop; nothing here parses what came from a network, and what may take long runs in a worker
 * process (worker.h). */
#pragma once

#include "supervisor/cgroup.h"
#include "supervisor/network.h"
#include "supervisor/policy.h"

#include "base/config.h"

#include <sched.h>
#include <systemd/sd-event.h>

struct sandbox;
struct client;
struct program;
struct disk_backend;
struct egress;
struct figures;

struct supervisor {
    struct config config;
    const char *libexec_dir;
    sd_event *event;
    int state_fd, run_fd;       /* STATE and RUN */
    int sandboxes_fd, trash_fd; /* STATE/sandboxes, STATE/trash */
    int run_sandboxes_fd;       /* RUN/sandboxes */
    int templates_fd;
    const struct disk_backend *disk; /* of new sandboxes: disk.h */
    bool disks_closed;               /* for want of room on the host */
    char disk_text[160];             /* what it is, and why */
    int init_fd;                     /* auracode-init, sealed memfd */
    int figures_fd;                  /* what the proxy counts (base/figures.h); -1: nothing */
    struct figures *figures;         /* the same, to read; NULL: nobody needs it (idle.h) */
    int certificates_fd; /* what [tls] names, as last read; -1: nothing (certificates.h) */
    int webhook_fds[2];  /* the API's end, auracode-hook's: kept, so that either may come again */
    int preview_key_fd;  /* secrets.h */
    int login_key_fd;
    int jwks_fd;       /* jwks.h; -1: none yet */
    int access_log_fd; /* access-log.h; -1: there is none */
    struct cgroup_tree cgroups;
    cpu_set_t host_cpus; /* that we may run on */
    unsigned int n_cpus;
    char *cpuinfo; /* the host's /proc/cpuinfo */
    struct subnet subnet;
    struct egress *egress; /* egress.h */
    struct policies policies;
    struct sandbox *sandboxes; /* list */
    unsigned char *slots;      /* id ranges in use, one byte each */
    struct client *clients;
    struct program *programs; /* array of PROGRAMS */
    int listen_fd;            /* RUN/supervisor.sock */
    bool stopping;
    unsigned int workers;
};

/* Exits the loop once every sandbox is stopped and every program has ended; called after each such
 * event. */
void supervisor_check_stopped(struct supervisor *supervisor);
