/* Theory of operation: see peer.h. A read or write that moved less than was asked for has emptied
 * or filled the socket: the next edge will tell, and the call that would only answer EAGAIN is
 * saved. After a hang-up there is no further edge, so such a peer stays readable until it gave its
 * end. */
#include "proxy/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

int peer_watch(struct peer *peer, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = peer};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, peer->fd, &event) < 0 ? -errno : 0;
}

void peer_event(struct peer *peer, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        peer->hung_up = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        peer->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        peer->writable = true;
    if (events & EPOLLERR)
        peer->failed = true;
}

int peer_fill(struct buffer_pool *pool, struct peer *peer)
{
    if (!peer->readable || peer->eof)
        return 0;
    int r = buffer_hold(pool, &peer->in);
    if (r < 0)
        return r;
    size_t room = buffer_room(&peer->in);
    if (room == 0)
        return 0;
    ssize_t n = peer->transport->receive(peer, buffer_tail(&peer->in), room);
    if (n == -EAGAIN || n == -EINTR) {
        peer->readable = n == -EINTR || peer->hung_up;
        return 0;
    }
    if (n < 0) {
        peer->failed = true;
        return (int)n;
    }
    peer->eof = n == 0;
    peer->in.length += (uint32_t)n;
    peer->received += (uint64_t)n;
    peer->readable = (size_t)n == room || peer->hung_up || peer->more;
    return 0;
}

static ssize_t write_failed(struct peer *peer, ssize_t r)
{
    if (r == -EAGAIN || r == -EINTR) {
        peer->writable = r == -EINTR;
        return 0;
    }
    peer->failed = true;
    return r;
}

/* Copying little costs less than the kernel's handling of a list. */
static bool can_join(struct peer *peer, size_t length)
{
    return length > 0 && length <= JOIN_MAX && peer->out.length > 0 &&
           buffer_room(&peer->out) >= length;
}

ssize_t peer_send(struct peer *peer, const char *extra, size_t length)
{
    struct iovec parts[2];
    size_t n_parts = 0, wanted = peer->out.length + length, joined = 0;

    if (!peer->writable || wanted == 0)
        return 0;
    if (can_join(peer, length) && buffer_add(&peer->out, extra, length) == 0) {
        joined = length;
        length = 0;
    }
    if (peer->out.length > 0)
        parts[n_parts++] = (struct iovec){buffer_head(&peer->out), peer->out.length};
    if (length > 0)
        parts[n_parts++] = (struct iovec){(char *)extra, length};
    ssize_t n = peer->transport->send(peer, parts, n_parts);
    if (n < 0) {
        n = write_failed(peer, n);
        return n < 0 ? n : (ssize_t)joined;
    }
    peer->writable = (size_t)n == wanted;
    peer->sent += (uint64_t)n;
    size_t own = (size_t)n < peer->out.length ? (size_t)n : peer->out.length;
    if (own > 0)
        buffer_take(&peer->out, own);
    return n - (ssize_t)own + (ssize_t)joined;
}

ssize_t peer_fill_pipe(struct peer *peer, struct pipe *pipe, size_t most)
{
    if (!peer->readable || peer->eof)
        return 0;
    ssize_t n = splice(peer->fd, NULL, pipe->in, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        peer->readable = errno == EINTR || peer->hung_up;
        return 0;
    }
    if (n < 0) {
        peer->failed = true;
        return -errno;
    }
    peer->eof = n == 0;
    pipe->used += (size_t)n;
    peer->received += (uint64_t)n;
    return n;
}

ssize_t peer_send_pipe(struct peer *peer, struct pipe *pipe)
{
    if (!peer->writable || pipe->used == 0)
        return 0;
    ssize_t n =
        splice(pipe->out, NULL, peer->fd, NULL, pipe->used, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0)
        return write_failed(peer, -errno);
    pipe->used -= (size_t)n;
    peer->sent += (uint64_t)n;
    return n;
}

void peer_shut(struct peer *peer)
{
    if (!peer->shut)
        peer->transport->shut(peer);
    peer->shut = true;
}

void peer_close(struct buffer_pool *pool, struct peer *peer)
{
    timer_cancel(&peer->timer);
    buffer_drop(pool, &peer->in);
    buffer_drop(pool, &peer->out);
    if (peer->transport)
        peer->transport->release(peer);
    peer->transport = NULL;
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}
