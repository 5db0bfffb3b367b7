/* What the files that make up program.h share: one program and what it is started with. */
#pragma once

#include "supervisor/program.h"

#define LISTENERS_MAX 3
#define MADE_OF_SIZE  128

struct program {
    struct supervisor *supervisor;
    const char *name; /* executable in the libexec folder */
    unsigned int role;
    unsigned int audience; /* enum config_audience */
    size_t user_at;        /* in struct config: the name of the account that it runs as */
    bool unwanted;         /* the configuration has no work for it */
    uid_t uid;
    gid_t gid;
    const char *listener_names[LISTENERS_MAX];
    int listeners[LISTENERS_MAX];
    pid_t pid;
    int pidfd;
    int leaving_pidfd; /* one that finishes what it has begun while its successor serves; -1: none
                        */
    char made_of[MADE_OF_SIZE]; /* what it was started from; "" if that is not known */
    bool outdated;              /* kept, and not what would be started today */
    int64_t started_ms, backoff_ms;
    sd_event_source *exit_source, *restart_source, *leaving_source, *outdated_source;
};

struct passed {
    int fds[10 + LISTENERS_MAX];
    char names[128];
    int count;
};

/* Adds a descriptor under its name (base/passed-fds.h); -1 is left out. */
void program_pass(struct passed *passed, int fd, const char *name);

/* program-run.c, in the new process: enters the jail, becomes the user, executes. */
_Noreturn void program_run(const struct program *program, struct passed *passed);

/* program-keep.c. Names the executable, by its inode and time, and the configuration. */
void program_made_of(const struct program *program, char ret_text[MADE_OF_SIZE]);
int programs_save(struct supervisor *supervisor, struct error *err);
/* Goes on with the one that an earlier supervisor had started, which `file` (programs.json) names;
 * false: it is gone. */
bool program_keep(struct program *program, const json_t *file);
/* One that was kept has handed back its listeners: it may be replaced now. */
void program_settle(struct program *program);

/* program.c. */
int program_watch(struct program *program, struct error *err);

/* program-listeners.c. Opens those that are configured and not there yet. */
int program_listeners_open(struct program *program, struct error *err);
/* Takes descriptor `i` of a hello, if it is the listener `name` of this program and listens where
 * the configuration says. */
int program_listener_take(struct program *program, size_t i, const char *name, struct ipc_fds *fds,
                          struct error *err);
