/* The files of [tls], as bytes: what is in them is for the programs to understand
 * (tls/certificates.h). */
#pragma once

#include "supervisor/supervisor.h"

#include "base/error.h"
#include "base/server.h"

/* Reads every file that [tls] names into one sealed memfd and returns it; -ENOENT with no error set
 * when none is named. Errors name the file. */
int certificates_load(const struct config *config, struct error *err);

/* At the start, and again on SIGHUP: after an error the programs keep what they have. */
int certificates_open(struct supervisor *supervisor, struct error *err);
int certificates_reload(struct supervisor *supervisor, struct error *err);

/* The operation `tls.get`. */
int op_tls_get(struct request *request, void *params, struct error *err);

/* For --check: one line for each pair, by a program that runs as [proxy] user. Returns whether
 * something is wrong. */
bool certificates_print(FILE *out, const struct config *config, const char *libexec_dir);
