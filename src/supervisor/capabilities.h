/* The capabilities inside a sandbox: policy data below a ceiling that is code.
 *
 * A policy's "capabilities" has "init" (names that the sandbox's init keeps in the sandbox's own
 * user namespace; all of the ceiling's where it is silent) and "processes" (those of the project's
 * processes: the ceiling is none, so the list is empty). A policy can only take away. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

/* -EINVAL naming the ceiling for a name above it. NULL is fine. */
int capabilities_check(const json_t *capabilities, struct error *err);

/* Mask (1 << number) of what the init keeps, of a section that passed the check; NULL: all of the
 * ceiling's. */
uint64_t capabilities_of_init(const json_t *capabilities);
