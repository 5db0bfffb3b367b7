/* Why a sandbox ended under a command: asked of the supervisor, which learns of the end a moment
 * after the init's connections break. */
#pragma once

#include "api/api.h"
#include "base/error.h"

/* `err`: code "sandbox_ended" with the cause, or why none could be had. */
typedef void (*ended_fn)(void *userdata, const struct error *err);

/* `told` is called exactly once, perhaps before this returns. */
void ended_ask(struct api *api, const char *sandbox, ended_fn told, void *userdata);

/* Answers what is not under way at the supervisor, with "sandbox_unreachable": at the API's end. */
void ended_close(struct api *api);
