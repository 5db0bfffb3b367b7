/* What streams and operations use of a process beyond process.h. */
#pragma once

#include "init/process.h"

struct ring *process_log(const struct process *process);

/* Ended and its output drained up to `ret_end` (log offset). */
bool process_finished(const struct process *process, int64_t *ret_end);

/* Input that the program does not take at once is kept, one packet of it; until process_input_full
 * is false again, offer nothing more. Input for a process without any is dropped. */
void process_input(struct process *process, const void *data, size_t length);
void process_input_end(struct process *process);
bool process_input_full(const struct process *process);

int process_resize(struct process *process, int64_t rows, int64_t cols, struct error *err);

/* A stream has caught up / has gone; the latter may free the process. */
void process_stream_changed(struct process *process);
void process_stream_gone(struct process *process);

/* Collects every child that has ended; called on SIGCHLD. */
void process_reap(void);

/* Newest first; NULL starts. */
struct process *process_next(struct process *process);

/* "SIGTERM" and its number; NULL / 0 when unknown. */
const char *signal_name(int signal);
int signal_number(const char *name);
