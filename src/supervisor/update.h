/* Changes of a sandbox that exists: sandbox.update. */
#pragma once

#include "supervisor/sandbox.h"

/* What may be changed. */
struct update_params {
    const char *id;
    const char *name;        /* "": none */
    json_t *labels, *limits; /* labels replace all; limits: only those that are named change */
    json_t *egress;          /* base/egress.h */
    const char *access;      /* of previews */
};

#define UPDATE_FIELDS 6
extern const struct field update_fields[UPDATE_FIELDS];

/* All or nothing: everything is checked first; what the kernel refuses is named (field and reason)
 * and what was changed before it is put back; then config.json is replaced and the change is
 * announced and `request` is answered with the sandbox, at once or after the growth of its disk. In
 * any state but creating, stopping and removing. */
int sandbox_update(struct sandbox *sandbox, const struct update_params *params,
                   struct request *request, struct error *err);

/* Reconfigures /tmp and /dev/shm of a running sandbox to their sizes in `to`. */
int tmpfs_resize(const struct sandbox *sandbox, const struct limits *from, const struct limits *to,
                 struct error *err);
