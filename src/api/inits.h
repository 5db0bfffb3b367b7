/* Connections to the sandboxes' inits: one a sandbox, made when first needed, kept while it lasts,
 * the least recently used given up beyond a bound. They do not depend on the supervisor once made.
 * What an init says is hostile: callers check every type and bound. */
#pragma once

#include "api/api.h"
#include "base/rpc.h"

#define INITS_MAX 2048u

struct inits *inits_new(struct api *api);
void inits_free(struct inits *inits);

/* One request to a sandbox's init. `params` is stolen (NULL: out of memory). `fd` is taken; -1:
 * none. A connection that turns out dead before anything was sent is replaced once. `reply` is
 * called exactly once, perhaps before this returns. */
void init_call(struct api *api, const char *sandbox, const char *op, json_t *params, int fd,
               rpc_reply_fn reply, void *userdata);

/* The supervisor tells of a sandbox (protocol.h), or is another one now and may have told us
 * nothing of its pauses: what is asked next wakes it first, and is refused if it may not. */
void inits_sandbox(struct api *api, const json_t *sandbox);
void inits_doubt(struct api *api);

/* A request whose answer interests nobody (a signal, an abort). */
void init_tell(struct api *api, const char *sandbox, const char *op, json_t *params);
