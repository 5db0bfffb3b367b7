/* Theory of operation: see session.h. A session holds the set of certificates that its handshake
 * began with until that is over. Renegotiation, which TLS 1.3 does not have, is refused. */
#include "tls/session.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOLS_MAX 4u
#define RECORD_SIZE   16384u

struct tls {
    gnutls_session_t session;
    struct certificates *set; /* of the handshake */
    bool in_flight;           /* a record waits in GnuTLS for the socket */
};

static int library_error(struct error *err, const char *what, int code)
{
    return error_set(err, code == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EIO, "%s: %s", what,
                     gnutls_strerror(code));
}

int tls_context_init(struct tls_context *context, struct error *err)
{
    const char *at;

    context->store = CERTIFICATE_STORE;
    int r = gnutls_certificate_allocate_credentials(&context->credentials);
    if (r == 0)
        r = gnutls_priority_init(&context->priorities, TLS_PRIORITIES, &at);
    if (r == 0)
        r = gnutls_session_ticket_key_generate(&context->ticket_key);
    if (r < 0)
        return library_error(err, "setting up TLS", r);
    gnutls_certificate_set_retrieve_function3(context->credentials, certificates_retrieve);
    return 0;
}

void tls_context_free(struct tls_context *context)
{
    certificate_store_free(&context->store);
    gnutls_certificate_free_credentials(context->credentials);
    gnutls_priority_deinit(context->priorities);
    if (context->ticket_key.data)
        gnutls_memset(context->ticket_key.data, 0, context->ticket_key.size);
    gnutls_free(context->ticket_key.data);
    *context = (struct tls_context){.store = CERTIFICATE_STORE};
}

static int offer(gnutls_session_t session, const char *const *protocols, unsigned int n)
{
    gnutls_datum_t list[PROTOCOLS_MAX];

    for (unsigned int i = 0; i < n && i < PROTOCOLS_MAX; i++)
        list[i] =
            (gnutls_datum_t){(unsigned char *)protocols[i], (unsigned int)strlen(protocols[i])};
    return n > 0 ? gnutls_alpn_set_protocols(session, list, n, GNUTLS_ALPN_SERVER_PRECEDENCE) : 0;
}

static int set_up(struct tls *tls, struct tls_context *context, int fd,
                  const char *const *protocols, unsigned int n_protocols)
{
    int r = gnutls_init(&tls->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

    if (r == 0)
        r = gnutls_priority_set(tls->session, context->priorities);
    if (r == 0)
        r = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, context->credentials);
    if (r == 0)
        r = gnutls_session_ticket_enable_server(tls->session, &context->ticket_key);
    if (r == 0)
        r = offer(tls->session, protocols, n_protocols);
    if (r < 0)
        return r;
    gnutls_session_set_ptr(tls->session, tls->set);
    gnutls_transport_set_int(tls->session, fd);
    gnutls_handshake_set_timeout(tls->session, 0); /* the caller's timers */
    return 0;
}

struct tls *tls_new(struct tls_context *context, int fd, const char *const *protocols,
                    unsigned int n_protocols)
{
    struct tls *tls = calloc(1, sizeof(*tls));

    if (!tls)
        return NULL;
    tls->set = certificate_store_get(&context->store);
    if (!tls->set || set_up(tls, context, fd, protocols, n_protocols) < 0) {
        tls_free(tls);
        return NULL;
    }
    return tls;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    if (tls->session)
        gnutls_deinit(tls->session);
    certificates_unref(tls->set);
    free(tls);
}

static int errno_of(int code)
{
    if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED)
        return -EAGAIN;
    if (code == GNUTLS_E_MEMORY_ERROR)
        return -ENOMEM;
    if (code == GNUTLS_E_PUSH_ERROR || code == GNUTLS_E_PULL_ERROR)
        return -ECONNRESET;
    return -EPROTO;
}

int tls_handshake(struct tls *tls)
{
    int r;

    do
        r = gnutls_handshake(tls->session);
    while (r < 0 && r != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(r));
    if (r < 0) {
        if (r != GNUTLS_E_AGAIN)
            gnutls_alert_send_appropriate(tls->session, r);
        return errno_of(r);
    }
    return 0;
}

bool tls_speaks(const struct tls *tls, const char *protocol)
{
    gnutls_datum_t selected;

    return gnutls_alpn_get_selected_protocol(tls->session, &selected) == 0 &&
           selected.size == strlen(protocol) && memcmp(selected.data, protocol, selected.size) == 0;
}

bool tls_wants_write(const struct tls *tls)
{
    return gnutls_record_get_direction(tls->session) == 1;
}

size_t tls_pending(const struct tls *tls)
{
    return gnutls_record_check_pending(tls->session);
}

ssize_t tls_read(struct tls *tls, void *data, size_t size)
{
    for (;;) {
        ssize_t n = gnutls_record_recv(tls->session, data, size);
        if (n >= 0)
            return n;
        if (n == GNUTLS_E_PREMATURE_TERMINATION)
            return 0;
        /* An empty record, a warning: neither says anything about what follows. */
        if (n == GNUTLS_E_REHANDSHAKE || n == GNUTLS_E_AGAIN || gnutls_error_is_fatal((int)n))
            return errno_of((int)n);
    }
}

/* Up to one record's worth behind `offset`: out of one part as it is, or gathered from several. */
static const char *gather(const struct iovec *parts, size_t n_parts, size_t offset,
                          char room[RECORD_SIZE], size_t *ret_size)
{
    size_t used = 0;

    while (n_parts > 0 && offset >= parts->iov_len) {
        offset -= parts->iov_len;
        parts++;
        n_parts--;
    }
    if (n_parts == 1 || (n_parts > 0 && parts->iov_len - offset >= RECORD_SIZE)) {
        size_t left = parts->iov_len - offset;
        *ret_size = left < RECORD_SIZE ? left : RECORD_SIZE;
        return (const char *)parts->iov_base + offset;
    }
    for (; n_parts > 0 && used < RECORD_SIZE; parts++, n_parts--, offset = 0) {
        size_t left = parts->iov_len - offset, n = RECORD_SIZE - used;
        n = left < n ? left : n;
        memcpy(room + used, (const char *)parts->iov_base + offset, n);
        used += n;
    }
    *ret_size = used;
    return room;
}

/* GnuTLS keeps a record that the socket did not take: it asks to be called again, with anything. */
static ssize_t send_record(struct tls *tls, const struct iovec *parts, size_t n_parts,
                           size_t offset)
{
    char room[RECORD_SIZE];
    size_t size = 0;

    if (tls->in_flight)
        return gnutls_record_send(tls->session, NULL, 0);
    const char *data = gather(parts, n_parts, offset, room, &size);
    return gnutls_record_send(tls->session, data, size);
}

ssize_t tls_writev(struct tls *tls, const struct iovec *parts, size_t n_parts)
{
    size_t size = 0, sent = 0;

    for (size_t i = 0; i < n_parts; i++)
        size += parts[i].iov_len;
    while (sent < size) {
        ssize_t n = send_record(tls, parts, n_parts, sent);
        tls->in_flight = n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
        if (n < 0 && sent == 0)
            return errno_of((int)n);
        if (n > 0 && sent + (size_t)n > size)
            return -EPROTO; /* not the bytes that the record was made of */
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    return (ssize_t)sent;
}

ssize_t tls_write(struct tls *tls, const void *data, size_t size)
{
    const struct iovec part = {(void *)data, size};

    return tls_writev(tls, &part, 1);
}

int tls_bye(struct tls *tls)
{
    int r = gnutls_bye(tls->session, GNUTLS_SHUT_WR);

    return r < 0 ? errno_of(r) : 0;
}
