/* Command-line options as tables: one description gives parsing, --help and completion. Every
 * option of every verb stores into the one `struct options`, at its table's offset. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARGS_LIST_MAX 128u

struct args_list {
    const char *items[ARGS_LIST_MAX];
    size_t count;
};

/* A figure for which 0 says something: "no limit". */
struct args_amount {
    uint64_t value;
    bool given;
};

/* Zero or NULL means "not given" everywhere. */
struct options {
    bool json, help, version;
    const char *socket, *host, *token, *cacert;
    const char *template, *name, *egress, *policy, *description;
    uint64_t memory, disk, pids, timeout_ms, grace_ms, port;
    double cpu;
    uint64_t cpu_weight, log;
    struct args_amount memory_high, swap, inodes, io_read_bps, io_write_bps, tmp, shm;
    struct args_list env, labels, scopes, allow;
    bool no_dev_server, path_form, no_restart, interactive, tty, follow, recursive, all, if_changed;
    const char *cwd, *user, *source, *since, *owner, *state, *access;
    const char *sandbox, *subject;
    uint64_t expires_ms, limit;
    bool password_stdin;
};

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_STRING,   /* const char *, not empty */
    OPTION_LIST,     /* struct args_list, one item each time */
    OPTION_PAIRS,    /* struct args_list of KEY=VALUE */
    OPTION_SIZE,     /* uint64_t bytes, "512MiB" */
    OPTION_AMOUNT,   /* struct args_amount, a size or 0 */
    OPTION_COUNT,    /* uint64_t, at least 1 */
    OPTION_REAL,     /* double, more than 0 */
    OPTION_DURATION, /* uint64_t milliseconds, "500ms", "60s", "5m", "1h"; a bare number: seconds */
};

struct option_spec {
    const char *name;
    char letter; /* 0: none */
    enum option_type type;
    size_t offset;
    const char *value; /* what --help calls it */
    const char *help;
};

struct option_table {
    const struct option_spec *options;
    size_t count;
};

/* Parses `argv` against the two tables (either may be empty). Positional arguments are moved to
 * `ret_args` (room for argc + 1, NULL-terminated). With `stop_at_first`, everything from the first
 * positional argument on is positional. -EINVAL with a sentence for the user. */
int args_parse(const struct option_table tables[2], char **argv, int argc, bool stop_at_first,
               struct options *options, char **ret_args, int *ret_n_args, struct error *err);

/* Milliseconds in "500ms", "60s", "5m", "1h", "60" (seconds). */
int args_duration(const char *text, uint64_t *ret_ms);
