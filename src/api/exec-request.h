/* What a client may ask to have executed, as REST body and as first frame of a WebSocket, and the
 * init's process.start made from it. */
#pragma once

#include "api/route.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define EXEC_TIMEOUT_MAX_MS     3600000
#define EXEC_TIMEOUT_DEFAULT_MS 120000

struct exec_body {
    json_t *argv;
    const char *command, *cwd, *user, *name;
    json_t *env;
    int64_t timeout_ms; /* -1: not given; 0: none */
    const char *stdin_text;
    bool background;
    /* WebSocket */
    bool tty, feed_stdin;
    int64_t rows, cols;
};

extern const struct field exec_fields[9], exec_socket_fields[11];

/* What the tables cannot say: argv or command, not both. */
int exec_check(const struct exec_body *body, struct error *err);

/* Parameters of process.start without attach; new reference or NULL when out of memory. */
json_t *exec_params(const struct exec_body *body, int64_t timeout_ms);

/* [argv...] of a program or of a shell line; new reference or NULL. */
json_t *exec_shell_argv(const char *command);

/* The process_id of an init's process object; 0 when it is malformed. */
json_int_t process_id_of(const json_t *process);
