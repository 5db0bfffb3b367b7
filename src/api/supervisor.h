/* The connection to the supervisor, over its restarts. While it is away calls wait, up to
 * CALL_WAIT_MS, and are sent once the new supervisor has accepted us. */
#pragma once

#include "api/api.h"
#include "base/rpc.h"

#define CALL_WAIT_MS 5000

enum call_kind {
    CALL_ONCE,       /* an answer that got lost is an error: it may have been carried out */
    CALL_REPEATABLE, /* asked again when the connection is lost meanwhile */
};

/* Takes `control`, the inherited connection (-1: connect). `listeners` are handed to each new
 * supervisor; they stay the caller's. */
struct listener_fd {
    const char *name;
    int fd;
};
int supervisor_open(struct api *api, int control, const struct listener_fd *listeners,
                    size_t n_listeners, struct error *err);
void supervisor_close(struct supervisor *supervisor);

/* Asks for a successor: this program accepts no more. Once it is connected, if it is not yet. */
void supervisor_leave(struct supervisor *supervisor);

/* Has the keys of [auth] jwks_url fetched anew, every 30 s at most. `api`: the struct. */
void supervisor_refresh_keys(void *api);

bool supervisor_ready(const struct supervisor *supervisor);

/* `params` is stolen; NULL means out of memory, which the callback is told. `reply` is called
 * exactly once, perhaps before this returns. */
void supervisor_call(struct supervisor *supervisor, const char *op, json_t *params,
                     enum call_kind kind, rpc_reply_fn reply, void *userdata);
