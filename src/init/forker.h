/* Who forks the project's processes: the init itself for root, a thread of it that is held by the
 * policy's Landlock rules of the user for the user. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* Puts the init and everything after it under the rules for the whole sandbox. Before the first
 * thread. -errno. */
int forker_confine(struct error *err);

/* Starts the thread where the policy has rules for the user and the kernel has Landlock. Signals
 * that it must leave alone are blocked before. */
int forker_start(struct error *err);

/* As fork(2), with `run(context)` in the child, which must not return. -errno in the parent. */
pid_t forker_fork(bool as_root, void (*run)(void *context), void *context);
