/* What auracoded itself may do: root's user id with a bounded set of capabilities. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* Drops every capability outside the table from all sets of this process, the bounding set
 * included. A capability that the process never had is no error. */
int privileges_drop(struct error *err);

/* Masks of capabilities (1 << number): those of the table, and those that an init keeps in the user
 * namespace of its sandbox. */
uint64_t privileges_kept(void);
uint64_t privileges_of_init(void);
