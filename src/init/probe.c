/* Theory of operation: one non-blocking connection at a time. A step that fails at once arms the
 * timer with no delay instead of calling back, so that the owner is never called from its own call.
 */
#include "init/probe.h"

#include "base/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int probe_judge(const char *text, size_t length)
{
    static const char start[] = "HTTP/1.";
    size_t wanted = sizeof(start) - 1;

    if (memcmp(text, start, length < wanted ? length : wanted) != 0)
        return -EPROTO;
    return length >= wanted;
}

static void disconnect(struct probe *probe)
{
    if (probe->watch.fd < 0)
        return;
    loop_unwatch(&probe->watch);
    close_and_forget(&probe->watch.fd);
}

void probe_cancel(struct probe *probe)
{
    disconnect(probe);
    timer_cancel(&probe->timer);
    probe->timer.deadline_ms = 0;
}

static void finish(struct probe *probe, bool answered)
{
    const char *address = probe->family == AF_INET ? "127.0.0.1" : "::1";

    probe_cancel(probe);
    probe->done(probe, answered ? address : NULL);
}

static void on_timeout(struct timer *timer)
{
    finish((struct probe *)((char *)timer - offsetof(struct probe, timer)), false);
}

static int connect_to(int fd, sa_family_t family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int r = family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
                              : connect(fd, (struct sockaddr *)&v6, sizeof(v6));

    return r < 0 && errno != EINPROGRESS ? -errno : 0;
}

static void on_ready(struct watch *watch, uint32_t events);

static int try_family(struct probe *probe, sa_family_t family)
{
    probe->family = family;
    probe->sent = probe->received = 0;
    cleanup_close int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : connect_to(fd, family, probe->port);
    if (r < 0)
        return r;
    probe->watch = (struct watch){.fd = fd, .handler = on_ready};
    r = loop_watch(&probe->watch, EPOLLOUT);
    if (r < 0) {
        probe->watch.fd = -1;
        return r;
    }
    TAKE_FD(fd);
    return 0;
}

static int send_request(struct probe *probe)
{
    char text[128];
    int length = snprintf(text, sizeof(text),
                          "GET / HTTP/1.1\r\nHost: localhost:%u\r\nAccept: */*\r\n"
                          "Connection: close\r\n\r\n",
                          probe->port);
    ssize_t n =
        send(probe->watch.fd, text + probe->sent, (size_t)length - probe->sent, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    probe->sent += (size_t)n;
    return probe->sent == (size_t)length ? loop_watch(&probe->watch, EPOLLIN) : 0;
}

/* 1: an HTTP answer, 0: wait, negative: not one. */
static int read_reply(struct probe *probe)
{
    ssize_t n = recv(probe->watch.fd, probe->reply + probe->received,
                     sizeof(probe->reply) - probe->received, 0);

    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
    probe->received += (size_t)n;
    return probe_judge(probe->reply, probe->received);
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct probe *probe = (struct probe *)watch;
    int r = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? read_reply(probe) : send_request(probe);

    if (r == 0)
        return;
    if (r < 0 && probe->family == AF_INET) {
        disconnect(probe);
        r = try_family(probe, AF_INET6);
        if (r == 0)
            return;
    }
    finish(probe, r > 0);
}

void probe_start(struct probe *probe, uint16_t port,
                 void (*done)(struct probe *probe, const char *address))
{
    *probe = PROBE_IDLE;
    probe->port = port;
    probe->done = done;
    probe->timer.handler = on_timeout;
    int r = try_family(probe, AF_INET);
    if (r < 0)
        r = try_family(probe, AF_INET6);
    timer_set(&probe->timer, r < 0 ? 0 : PROBE_TIMEOUT_MS);
}
