/* TLS in front of libmicrohttpd, which then sees plain HTTP: it has TLS of its own, but forwards an
 * upgraded connection through the four bytes that are left of its buffers (0.9.75). */
#pragma once

#include "api/api.h"
#include "base/error.h"

#include <sys/socket.h>

struct tls_front;

/* Takes `fd`, the plain side of a connection from `address` that has finished its handshake; -1 and
 * it is closed by the caller. */
typedef int (*tls_front_accepted_fn)(void *userdata, int fd, const struct sockaddr *address,
                                     socklen_t length);

/* Accepts on a listening socket, which stays the caller's. */
int tls_front_new(struct api *api, int fd, tls_front_accepted_fn accepted, void *userdata,
                  struct tls_front **ret_front, struct error *err);

/* Takes no more connections. */
void tls_front_stop(struct tls_front *front);

/* Sends what can be sent and closes all connections. NULL is allowed. */
void tls_front_free(struct tls_front *front);
