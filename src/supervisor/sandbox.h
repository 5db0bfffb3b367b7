/* A sandbox: its specification (durable, STATE/sandboxes/ID/config.json), its present state
 * (RUN/sandboxes/ID/state.json) and the state machine
 *
 *   creating -> running -> stopping -> stopped -> creating ...
 *   running <-> paused (pause.h) -> stopping
 *   creating -> failed,  any -> removing -> (gone)
 *
 * `paused`, `stopped` and `failed` carry a cause (cause.h), which `stopping` announces. */
#pragma once

#include "supervisor/cause.h"
#include "supervisor/disk.h"
#include "supervisor/egress.h"
#include "supervisor/supervisor.h"

#include "base/id.h"
#include "base/rpc.h"
#include "base/server.h"

#include <sched.h>

enum sandbox_state {
    SANDBOX_CREATING,
    SANDBOX_RUNNING,
    SANDBOX_PAUSED,
    SANDBOX_STOPPING,
    SANDBOX_STOPPED,
    SANDBOX_FAILED,
    SANDBOX_REMOVING,
};

struct sandbox {
    struct sandbox *next;
    struct supervisor *supervisor;
    char id[SANDBOX_ID_LENGTH + 1];
    enum sandbox_state state;
    struct sandbox_cause cause; /* why it does not run, or is about to end */
    int landlock;               /* ABI that its init runs under, 0: none */
    int64_t oom_kills;          /* of processes other than its init, as far as it has told */
    json_t *spec;               /* template, name, env, labels, owner, egress, policy, access */
    int64_t access_epoch;       /* of preview tokens: those of another are refused */
    json_t *layers;             /* template names, lowest first */
    struct limits limits;
    unsigned int slot;              /* number of its id range and of its network */
    cpu_set_t cpus;                 /* of the host, that its processes are kept on */
    int64_t created_at, started_at; /* ms since the epoch */
    unsigned int generation;
    int64_t used_at;        /* ms of the monotonic clock; 0: not known (idle.h) */
    uint64_t previews_seen; /* that the figures told of at the last look */
    int dir_fd, run_dir_fd;
    const struct disk_backend *disk;
    int disk_fd; /* its mount, until it is handed over */
    bool disk_closed;
    bool preparing;             /* a worker is at its disk */
    unsigned int waits;         /* for what, before it gets its mounts; see sandbox.c */
    struct egress_state egress; /* its network */
    int sync_fd;                /* to the stage, which waits for the mounts */
    pid_t init_pid;
    uint64_t init_start_time; /* clock ticks since boot, tells a reused pid apart */
    int pidfd, netns_fd;
    struct rpc init; /* role supervisor; fd < 0 when not connected */
    sd_event_source *exit_source, *status_source, *timer_source, *init_source;
    int status_fd;
    char status_text[1024];
    size_t status_length;
    struct request *waiters[8]; /* answered when it runs or has stopped */
    size_t n_waiters;
};

const char *sandbox_state_name(enum sandbox_state state);
bool sandbox_egress(const struct sandbox *sandbox);

struct sandbox *sandbox_find(struct supervisor *supervisor, const char *id);

/* Makes the folders and config.json of a new one in state stopped, linked into the list. */
int sandbox_new(struct supervisor *supervisor, const struct sandbox_spec *spec,
                const struct policy *policy, const struct limits *limits,
                struct sandbox **ret_sandbox, struct error *err);

/* Stopped or failed -> creating. Ends in running or failed later; the waiters are told. */
int sandbox_start(struct sandbox *sandbox, struct error *err);
/* Running or paused -> stopping. */
int sandbox_stop(struct sandbox *sandbox, int64_t grace_ms, struct error *err);
/* Any -> removing; kills what runs. Unlinked and freed once its init has ended (at once when there
 * is none); then `request` (may be NULL) is answered. */
int sandbox_remove(struct sandbox *sandbox, struct request *request, struct error *err);

/* Answers `request` with the sandbox object once the present transition has ended. -EBUSY when too
 * many wait. */
int sandbox_wait(struct sandbox *sandbox, struct request *request, struct error *err);

/* sandbox-json.c: the sandbox object of protocol.h; with `brief` what the proxy needs. */
json_t *sandbox_to_json(const struct sandbox *sandbox, bool brief);

/* ---- for the files that make up the state machine ---- */

/* sandbox-files.c */
int sandbox_save_config(const struct sandbox *sandbox, struct error *err);
int sandbox_save_state(const struct sandbox *sandbox, struct error *err);
int sandbox_load(struct supervisor *supervisor, const char *id, struct sandbox **ret_sandbox,
                 struct error *err);
int sandbox_open_folders(struct sandbox *sandbox, bool create, struct error *err);
/* Moves the files to the trash and deletes them in a worker. */
void sandbox_discard_files(struct sandbox *sandbox);
void sandbox_empty_trash(struct supervisor *supervisor);

struct sandbox *sandbox_alloc(struct supervisor *supervisor, const char *id);
void sandbox_free(struct sandbox *sandbox);
/* Sets, saves and announces a state with the present cause; answers the waiters when it is a
 * lasting one. */
void sandbox_set_state(struct sandbox *sandbox, enum sandbox_state state);

/* access.c: "public" or "private". */
const char *sandbox_access(const struct sandbox *sandbox);
/* Refuses every preview token made so far; saved before it is announced. */
int sandbox_revoke_tokens(struct sandbox *sandbox, struct error *err);

/* launch.c: clones the stage; sets init_pid, pidfd, netns_fd, status_fd, sync_fd. */
int sandbox_launch(struct sandbox *sandbox, struct error *err);
/* Gives it what it waits for: layers, disk and views. */
int sandbox_send_mounts(struct sandbox *sandbox, struct error *err);
/* Watches the exit of the init. */
int sandbox_watch_exit(struct sandbox *sandbox, struct error *err);
/* Connects to the init as supervisor. */
int sandbox_connect_init(struct sandbox *sandbox, struct error *err);

/* adopt.c: called once at start for each sandbox on disk. */
void sandboxes_adopt(struct supervisor *supervisor);

/* process start time of /proc/PID/stat, field 22. */
int process_start_time(pid_t pid, uint64_t *ret_ticks);
