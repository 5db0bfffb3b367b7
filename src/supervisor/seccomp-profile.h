/* The system call filter of project processes, compiled once from a policy file
 * (policies/NAME.json). */
#pragma once

#include "base/error.h"

/* Reads and checks DIR/NAME.json and compiles its "seccomp" section for the native architecture.
 * Returns a sealed memfd with an array of struct sock_filter. A bad file: error names the file,
 * line or field and what is allowed. */
int seccomp_profile_compile(const char *policies_dir, const char *name, struct error *err);
