/* Lists of a policy whose members are strings or groups of strings with a reason:
 *
 *     ["read", {"names": ["shmget", "shmat"], "reason": "System V IPC: what PostgreSQL uses"}]
 *
 * `key` is what a group calls its strings, e.g. "names". */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* `path` is the text's own ("masked_paths[2].paths[0]"). Anything but 0 ends the walk. */
typedef int (*grouped_fn)(void *context, const char *text, const char *path, struct error *err);

/* Calls `each` with every string in turn. -EINVAL, with the path in the error, for a member that is
 * neither a string nor a group of at least one string and a reason of 1 to 256 bytes. */
int grouped_each(const json_t *list, const char *field, const char *key, grouped_fn each,
                 void *context, struct error *err);

/* The same for an array of strings alone. */
int strings_each(const json_t *strings, const char *field, grouped_fn each, void *context,
                 struct error *err);

/* Takes the strings that are in `names` out of a list that grouped_each() accepts, and the groups
 * that are empty then. */
void grouped_remove(json_t *list, const char *key, const json_t *names);
