/* A process and the table of them: for the files that make up process.h (life: process.c, pipes and
 * terminals: process-pipes.c, start: process-start.c). */
#pragma once

#include "init/process-io.h"

#include "init/cause.h"

#include "base/cleanup.h"

struct output {
    struct watch watch;
    struct process *process;
    unsigned int channel;
};

struct process {
    struct process *next, *previous; /* newest first */
    int64_t id;
    pid_t pid;
    char *name, *cwd;
    json_t *argv;
    bool tty, discard, shared_log;
    struct ring *log;
    struct output outputs[2];
    struct watch input;
    unsigned char *input_data; /* one packet that the program has not taken yet */
    size_t input_length, input_done;
    bool input_end;
    struct timer timeout;
    int64_t started_at, started_monotonic, ended_at, duration_ms;
    bool ended, finished;
    struct cause cause;
    int64_t drain_left, end_offset;
    void (*on_exit)(struct process *process, void *userdata);
    void *userdata;
};

/* All of them, newest first. */
struct processes {
    struct process *first;
    int64_t last_id;
    unsigned int live, finished;
    bool stopping;
    struct timer grace, tidy;
    void (*stopped)(void);
};

extern struct processes processes;

/* process.c */
/* Nothing more is read of it: its end is announced. */
void process_finish(struct process *process);
void process_free(struct process *process);
/* Forgetting happens from the top of the loop only: our callers may be deep inside a process. */
void process_tidy_soon(void);

/* process-pipes.c */
void process_pipes_init(struct process *process);
void process_pipes_close(struct process *process);
bool process_pipes_open(const struct process *process);
/* Reads from now on, unless a stream holds the output back. */
void process_pipes_watch(struct process *process);
/* Takes what the pipes of an ended process still hold. */
void process_pipes_drain(struct process *process);
void process_input_close(struct process *process);
