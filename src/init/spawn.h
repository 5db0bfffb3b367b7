/* Executes a program for the project: the only place where the init's few capabilities are given up
 * and the seccomp program is put on. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn {
    char *const *argv;
    char *const *environment;
    const char *cwd;
    bool as_root;
    bool tty;
    bool want_stdin;
    int64_t rows, cols;
};

/* Our ends, non-blocking. A terminal has no error_fd; input_fd is -1 without `want_stdin`. */
struct spawned {
    pid_t pid; /* leader of a session and a process group of its own */
    int input_fd, output_fd, error_fd;
    int listener_fd; /* of its seccomp program (forbidden.h); -1: another one is in force already */
};

/* Waits until the program is executed. -errno with code "exec_failed" (the message names the step
 * and the path), "pids_limit" or "memory_limit". */
int spawn(const struct spawn *what, struct spawned *ret_spawned, struct error *err);
