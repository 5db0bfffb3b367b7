/* The asking side of an IPC connection (see server.h for the packets): outstanding calls, each with
 * a callback, and events. Free of any event loop: poll `rpc->ipc.fd` for POLLIN, and for POLLOUT
 * while ipc_pending(). */
#pragma once

#include "base/ipc.h"

struct rpc;

/* `result` is borrowed and NULL on failure, when `err` says why; a lost connection is ECONNRESET.
 * The callback may take descriptors out of `fds`; the rest are closed. */
typedef void (*rpc_reply_fn)(void *userdata, json_t *result, struct ipc_fds *fds,
                             const struct error *err);

/* `event` is the whole message, borrowed. */
typedef void (*rpc_event_fn)(struct rpc *rpc, const char *name, json_t *event);

struct rpc_call {
    struct rpc_call *next;
    json_int_t id;
    rpc_reply_fn reply; /* NULL once cancelled */
    void *userdata;
};

struct rpc {
    struct ipc ipc;
    json_int_t last_id;
    struct rpc_call *calls;
    rpc_event_fn on_event; /* may be NULL */
    void *userdata;
};

/* Takes `fd`. */
void rpc_init(struct rpc *rpc, int fd, rpc_event_fn on_event, void *userdata);

/* Every outstanding call is answered with ECONNRESET from inside this function. */
void rpc_close(struct rpc *rpc);

/* `params` is stolen (NULL: none); descriptors are borrowed. On failure the callback is not called.
 * The call's number goes to `ret_id` (may be NULL). */
int rpc_call(struct rpc *rpc, const char *op, json_t *params, const int *fds, size_t n_fds,
             rpc_reply_fn reply, void *userdata, json_int_t *ret_id, struct error *err);

/* The callback of that call will not be called any more. */
void rpc_cancel(struct rpc *rpc, json_int_t id);

/* Call when the descriptor is readable or writable. A negative errno: the connection is over, call
 * rpc_close (not from inside a callback). */
int rpc_dispatch(struct rpc *rpc);

/* Sends one request on a connection that nobody else uses yet and waits up to `timeout_ms` for its
 * answer; events that come first are dropped. For start-up paths and the handshake only. */
int rpc_call_wait(struct rpc *rpc, const char *op, json_t *params, int timeout_ms,
                  json_t **ret_result, struct error *err);
