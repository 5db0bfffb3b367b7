/* A WebSocket to the API: libcurl makes the connection (unix socket, TCP or TLS), the handshake is
 * ours, frames are wslay's. Non-blocking: the owner polls `ws_fd` for POLLIN, and for POLLOUT while
 * ws_wants_write, and then calls ws_dispatch. */
#pragma once

#include "cli/client.h"

#include <stddef.h>

struct ws;

/* `binary`: false for a text message. */
typedef void (*ws_message_fn)(void *userdata, bool binary, const unsigned char *data,
                              size_t length);

int ws_open(struct client *client, const char *path, ws_message_fn on_message, void *userdata,
            struct ws **ret_ws, struct error *err);
void ws_free(struct ws *ws);

int ws_fd(const struct ws *ws);
bool ws_wants_write(const struct ws *ws);

/* Bytes that wait to be sent: stop producing above some measure. */
size_t ws_queued(const struct ws *ws);

int ws_send(struct ws *ws, bool binary, const void *data, size_t length);

/* Receives and sends what is possible. 1: goes on, 0: closed by both sides, a negative errno: the
 * connection is lost. */
int ws_dispatch(struct ws *ws);

static inline void ws_free_pointer(struct ws **ws)
{
    ws_free(*ws);
}
#define cleanup_ws __attribute__((cleanup(ws_free_pointer)))
