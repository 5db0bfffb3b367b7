/* Paths that a client names. They are absolute or relative to /app, must lie in a project root
 * (/app, /home/user, /tmp) and are looked up as the project's user, beneath that root, without
 * magic links.
 *
 * Errors of all functions: EXDEV "path_outside_project", ENOENT "file_not_found", and those of
 * openat2(2); messages name the path. */
#pragma once

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

struct path {
    char full[PATH_MAX]; /* absolute, no ".", "..", empty or trailing parts */
    size_t root_length;  /* of the root in `full` */
};

/* "a/b" below the root, "." for the root itself. */
const char *path_rest(const struct path *path);

/* Lexical: `..` is taken away with the part before it, as in a URL. ENAMETOOLONG. */
int path_parse(const char *text, struct path *ret_path, struct error *err);

/* open(2) beneath the root; `flags` without O_CREAT; O_CLOEXEC is added. Returns the descriptor. */
int path_open(const struct path *path, int flags, struct error *err);

/* The folder that holds the last part, as O_PATH descriptor; `ret_name` points into `path`.
 * EBUSY for a root itself. With `make`, missing folders are made (0755). */
int path_open_parent(const struct path *path, bool make, const char **ret_name, struct error *err);

/* A regular file for reading, opened without blocking and without touching a device or a FIFO.
 * EINVAL "not_regular". */
int path_open_regular(const struct path *path, struct stat *ret_status, struct error *err);

/* error_sys with "`PATH`: step" and ENOENT as "file_not_found". Returns the negative errno. */
int path_error(struct error *err, int errnum, const char *step, const char *path);

/* The file object of protocol.h; `name` may be NULL. New reference or NULL. */
json_t *path_stat_json(const char *path, const char *name, const struct stat *status);

/* What a file name looks like in JSON: bytes that are no UTF-8 become U+FFFD. The result is in
 * fresh memory; NULL when out of memory. */
char *path_shown_name(const char *name);

/* RFC 4648 base64 with padding, in fresh memory; NULL when out of memory. */
char *path_base64(const char *text);

/* File accesses in the scope happen as the project's user:
 *     path_as_user;
 */
int path_user_enter(void);
void path_user_leave(const int *token);
#define path_as_user                                                                               \
    __attribute__((cleanup(path_user_leave), unused)) const int user_scope_ = path_user_enter()
