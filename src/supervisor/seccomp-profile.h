/* The system call filter of project processes, compiled from the "seccomp" section of a policy:
 * "allow" (names, or groups of them with a reason: grouped.h), "deny" ([{"names","reason"}]:
 * EPERM), "rules" ([{"names","action","args","except","reason"}]: action on masked arguments, or on
 * all values but some), and, in a policy that extends another, "remove" (like deny). What is in
 * none of them gets ENOSYS. "comment" may stand everywhere. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Checks the section of one file; the error names the field's whole path and what is allowed.
 * `extends`: its policy builds on another. */
int seccomp_profile_check(const json_t *seccomp, bool extends, struct error *err);

/* Compiles a section that extends nothing, for the native architecture. Returns a sealed memfd with
 * an array of struct sock_filter. */
int seccomp_profile_compile(const json_t *seccomp, struct error *err);
