/* Descriptors handed from the supervisor to the programs that it starts: numbers 3, 4, ... named in
 * the environment variable AURACODE_FDS as "control,config,proxy,proxy" (the same name may recur).
 */
#pragma once

#include <stddef.h>

#define PASSED_FDS_START 3
#define PASSED_FDS_MAX   64

/* The next descriptor of that name, close-on-exec set and not returned again; -ENOENT. */
int passed_fd_take(const char *name);
