/* The sandbox's file system view, as tables: overlay root, then /proc, /sys, /dev, /tmp, /run,
 * masked and read-only paths. Runs inside the new namespaces (stage.h). */
#pragma once

#include "supervisor/stage.h"

/* `layers`: detached idmapped mounts, lowest first; `data`: the one that holds upper/ and work/.
 * Leaves the process in the new root with the old one gone. */
int mounts_enter(const struct stage *stage, const int *layers, int data, struct error *err);
