/* User ids: every sandbox has a user namespace whose ids 0..65535 are a range of the host that
 * nobody else has. On disk files carry the inner ids; a mount's idmap translates, so templates are
 * shared without a chown. */
#pragma once

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

#define IDMAP_RANGE 65536

/* Writes /proc/PID/uid_map, setgroups and gid_map: 0..65535 inside is base.. outside. */
int idmap_write(pid_t pid, uint32_t base, struct error *err);

/* A detached copy of the mount at `path` with ids translated through `userns_fd` and attributes
 * MOUNT_ATTR_* in `attributes`. Returns its descriptor. */
int idmap_mount(int dir_fd, const char *path, int userns_fd, uint64_t attributes,
                struct error *err);

/* Translates the ids of a detached mount that is nobody else's. Takes it and returns it. */
int idmap_new_mount(int mount_fd, int userns_fd, struct error *err);
