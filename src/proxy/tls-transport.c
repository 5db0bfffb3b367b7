/* Theory of operation: see tls-transport.h. What a peer knows about readiness is about the socket,
 * so a read goes on until the socket has no more or there is no more room: no decrypted byte stays
 * behind in the session without `readable` saying so. */
#include "proxy/tls-transport.h"

#include "base/cleanup.h"
#include "proxy/peer.h"

#include <errno.h>
#include <sys/socket.h>

static ssize_t receive_tls(struct peer *peer, void *data, size_t room)
{
    size_t got = 0;

    while (got < room) {
        ssize_t n = tls_read(peer->layer, (char *)data + got, room - got);
        if (n > 0) {
            got += (size_t)n;
            continue;
        }
        if (got == 0)
            return n;
        peer->more = n != -EAGAIN; /* the end, or a failure: the next read tells */
        break;
    }
    return (ssize_t)got;
}

static ssize_t send_tls(struct peer *peer, const struct iovec *parts, size_t n_parts)
{
    return tls_writev(peer->layer, parts, n_parts);
}

static void shut_tls(struct peer *peer)
{
    tls_bye(peer->layer);
    shutdown(peer->fd, SHUT_WR);
}

static void release_tls(struct peer *peer)
{
    tls_free(peer->layer);
    peer->layer = NULL;
}

const struct transport transport_tls = {
    .receive = receive_tls, .send = send_tls, .shut = shut_tls, .release = release_tls};

int tls_transport_start(struct peer *peer, struct tls_context *context)
{
    static const char *const protocols[] = {"h2", "http/1.1"};

    peer->layer = tls_new(context, peer->fd, protocols, ELEMENTS(protocols));
    if (!peer->layer)
        return -ENOENT;
    peer->transport = &transport_tls;
    return 0;
}

int tls_transport_handshake(struct peer *peer)
{
    return tls_handshake(peer->layer);
}

bool tls_transport_speaks_h2(const struct peer *peer)
{
    return tls_speaks(peer->layer, "h2");
}
