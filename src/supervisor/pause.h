/* Pausing: all processes of a sandbox are frozen where they are, its memory, sockets and network
 * stay, and it goes on at once when it is resumed. One that was paused since nobody used it
 * (idle.h) sleeps: a request for its preview, or of the API, wakes it. One that somebody has paused
 * stays so until somebody resumes it. */
#pragma once

#include "supervisor/sandbox.h"

/* Its processes are there, running or frozen. */
bool sandbox_lives(const struct sandbox *sandbox);
bool sandbox_sleeps(const struct sandbox *sandbox);

/* Running -> paused; `why` is CAUSE_REQUEST or CAUSE_IDLE. */
int sandbox_pause(struct sandbox *sandbox, const char *why, struct error *err);
/* Paused -> running. */
int sandbox_resume(struct sandbox *sandbox, struct error *err);

/* Freezes or thaws as its state says: after an adoption, and before it is stopped. */
int sandbox_freeze(const struct sandbox *sandbox, bool frozen, struct error *err);

/* The operations sandbox.pause, .resume and .wake. */
int op_pause(struct request *request, void *params, struct error *err);
int op_resume(struct request *request, void *params, struct error *err);
int op_wake(struct request *request, void *params, struct error *err);
