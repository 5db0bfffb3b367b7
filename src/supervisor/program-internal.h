/* What the files that make up program.h share: one program and what it is started with. */
#pragma once

#include "supervisor/program.h"

#define LISTENERS_MAX 3

struct program {
    struct supervisor *supervisor;
    const char *name; /* executable in the libexec folder */
    unsigned int role;
    unsigned int audience; /* enum config_audience */
    uid_t uid;
    gid_t gid;
    const char *listener_names[LISTENERS_MAX];
    int listeners[LISTENERS_MAX];
    pid_t pid;
    int pidfd;
    int leaving_pidfd; /* one that finishes what it has begun while its successor serves; -1: none
                        */
    int64_t started_ms, backoff_ms;
    sd_event_source *exit_source, *restart_source, *leaving_source;
};

struct passed {
    int fds[6 + LISTENERS_MAX];
    char names[128];
    int count;
};

/* Adds a descriptor under its name (base/passed-fds.h); -1 is left out. */
void program_pass(struct passed *passed, int fd, const char *name);

/* program-run.c, in the new process: enters the jail, becomes the user, executes. */
_Noreturn void program_run(const struct program *program, struct passed *passed);

/* program-listeners.c. Opens those that are configured and not there yet. */
int program_listeners_open(struct program *program, struct error *err);
/* Takes descriptor `i` of a hello, if it is the listener `name` of this program and listens where
 * the configuration says. */
int program_listener_take(struct program *program, size_t i, const char *name, struct ipc_fds *fds,
                          struct error *err);
