/* auracoded --check: what is needed from the kernel and the system, one line each. */
#pragma once

#include "base/config.h"

#include <stdio.h>

/* Prints `ok`, `warn` or `MISSING`, the name, what was found and what to do. 0 when nothing is
 * missing, else 1. The certificates of [tls] are read by a program from `libexec_dir`. */
int check_run(FILE *out, const struct config *config, const char *libexec_dir);
