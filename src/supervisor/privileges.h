/* What auracoded itself may do: root's user id with a bounded set of capabilities. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* Drops every capability outside the table from all sets of this process, the bounding set
 * included. A capability that the process never had is no error. */
int privileges_drop(struct error *err);

/* Mask of the capabilities (1 << number) of the table. */
uint64_t privileges_kept(void);
