/* Theory of operation: see transport.h. This is the plain one: the socket itself. */
#include "proxy/transport.h"

#include "proxy/peer.h"

#include <errno.h>
#include <sys/socket.h>

static ssize_t receive_plain(struct peer *peer, void *data, size_t room)
{
    ssize_t n = recv(peer->fd, data, room, MSG_DONTWAIT);

    return n < 0 ? -errno : n;
}

/* One part is the usual case, and cheaper for the kernel than a list of one. */
static ssize_t send_plain(struct peer *peer, const struct iovec *parts, size_t n_parts)
{
    struct msghdr header = {.msg_iov = (struct iovec *)parts, .msg_iovlen = n_parts};
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t n = n_parts == 1 ? send(peer->fd, parts[0].iov_base, parts[0].iov_len, flags)
                             : sendmsg(peer->fd, &header, flags);

    return n < 0 ? -errno : n;
}

static void shut_plain(struct peer *peer)
{
    shutdown(peer->fd, SHUT_WR);
}

static void release_plain(struct peer *peer)
{
    (void)peer;
}

const struct transport transport_plain = {.raw = true,
                                          .receive = receive_plain,
                                          .send = send_plain,
                                          .shut = shut_plain,
                                          .release = release_plain};
