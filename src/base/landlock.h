/* Landlock: rights over paths, ports and signals that a thread and all it starts give up for good,
 * as far as the kernel knows them (landlock(7), Documentation/userspace-api/landlock.rst).
 *
 * A rule is {"paths": ["/app", ...], "access": ["read", ...]}; what no rule grants is denied:
 *   read     read files and list folders
 *   write    open files for writing, truncate them (the latter from ABI 3)
 *   create   make, remove, link and rename files, folders, links, fifos and sockets; never devices
 *   execute  execute files
 *   ioctl    ioctl(2) on devices, terminals too (from ABI 5) */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* NULL-terminated, for tables of fields. */
extern const char *const landlock_accesses[];
extern const char *const landlock_scopes[]; /* abstract_unix_socket, signal (from ABI 6) */

/* The kernel's ABI, from 1; 0: it has no Landlock, or it is not switched on. */
int landlock_abi(void);

/* What a ruleset of ours restricts at this ABI, in words. */
const char *landlock_features(int abi);

struct landlock_section {
    const json_t *rules;  /* array of rules; NULL: paths are left alone */
    const json_t *scopes; /* names of landlock_scopes: what lies outside is out of reach */
    const json_t *tcp;    /* {"bind": [ports], "connect": [ports]}: no others (from ABI 4) */
};

/* Puts the calling thread under the section, which was checked before. A path that does not exist
 * or that a link leads to is passed over. Needs no_new_privs. A kernel without Landlock, or without
 * a part of it, is no error. -errno: nothing is in force. */
int landlock_restrict(const struct landlock_section *section, struct error *err);
