/* The server's side of one TLS connection over a non-blocking socket, without an event loop. Errors
 * are negative errnos: -EAGAIN when the socket has nothing or takes nothing now (which of the two,
 * tls_wants_write tells), -EPROTO when the peer broke the protocol, the socket's own otherwise. */
#pragma once

#include "tls/report.h"

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What the sessions of one program share: certificates, the key of session tickets. */
struct tls_context {
    struct certificate_store store;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    gnutls_datum_t ticket_key; /* GnuTLS derives from it one that changes with time */
};

int tls_context_init(struct tls_context *context, struct error *err);
void tls_context_free(struct tls_context *context);

struct tls;

/* `protocols` are offered by ALPN in that order; a client that asks for none of them goes on
 * without. The descriptor stays the caller's. NULL: out of memory, or there is no certificate. */
struct tls *tls_new(struct tls_context *context, int fd, const char *const *protocols,
                    unsigned int n_protocols);
void tls_free(struct tls *tls); /* NULL is allowed */

/* 0 once it is done. */
int tls_handshake(struct tls *tls);

/* Whether ALPN settled on that protocol. */
bool tls_speaks(const struct tls *tls, const char *protocol);

/* What waits for the socket is output: poll for writing, not only for reading. */
bool tls_wants_write(const struct tls *tls);

/* Bytes that were decrypted and are not read yet: no event of the socket tells of them. */
size_t tls_pending(const struct tls *tls);

/* As read(2); 0 is the end, announced or not. */
ssize_t tls_read(struct tls *tls, void *data, size_t size);

/* As writev(2). Returns how much was sent, in whole records, which hold bytes of several parts
 * where those are small. After -EAGAIN, and after less than all was sent, the next call must go on
 * with the same bytes, however they are divided: a record of them may be on its way. */
ssize_t tls_writev(struct tls *tls, const struct iovec *parts, size_t n_parts);
ssize_t tls_write(struct tls *tls, const void *data, size_t size);

/* Says that nothing more comes (close_notify); 0 once that is sent. */
int tls_bye(struct tls *tls);
