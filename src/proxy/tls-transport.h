/* TLS between a browser's socket and HTTP: a transport (transport.h) whose peer's `layer` is the
 * session. */
#pragma once

#include "proxy/transport.h"
#include "tls/session.h"

extern const struct transport transport_tls;

/* A session for a connection that has just been accepted. -ENOMEM or -ENOENT (no certificate). */
int tls_transport_start(struct peer *peer, struct tls_context *context);

/* 0 once it is done, -EAGAIN, or a negative errno. */
int tls_transport_handshake(struct peer *peer);

bool tls_transport_speaks_h2(const struct peer *peer);
