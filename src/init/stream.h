/* Streams (protocol.h part 2): what follows the log of a process or of the service and may feed a
 * process's input. */
#pragma once

#include "init/process.h"

#define STREAMS_MAX 256u

struct stream_options {
    int64_t since; /* log offset; -1: the end */
    bool follow;
    bool feeds_stdin;
    bool lossless; /* the process waits for it rather than that it misses something */
};

/* Takes `fd`, also on failure. */
int stream_attach_process(struct process *process, const struct stream_options *options, int fd,
                          struct error *err);

/* Whether the process must not be read because a lossless stream is behind. */
bool stream_holds(const struct process *process);
bool stream_any(const struct process *process);

/* The process has finished, or takes input again. */
void stream_process_changed(struct process *process);

/* The process is about to be freed. */
void stream_process_gone(struct process *process);
