/* The sandbox's file system view, as tables: overlay root, then /proc, /sys, /dev, /tmp, /run,
 * masked and read-only paths. Runs inside the new namespaces (stage.h). */
#pragma once

#include "supervisor/stage.h"

/* `layers`: detached idmapped mounts, lowest first; `data`: the one that holds upper/ and work/;
 * `views`: read-only mounts of single files, in the order of view_targets (views.h).
 * Leaves the process in the new root with the old one gone. */
int mounts_enter(const struct stage *stage, const int *layers, int data, const int *views,
                 struct error *err);
