/* Theory of operation: a socket belongs for ever to the network namespace that it was made in. So
 * the single thread steps into the sandbox's, makes sockets and steps back: 6 to 9 us. A thread
 * that could not come back would serve the wrong network, hence the abort. */
#include "supervisor/network.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Makes sockets while the thread is inside; 0 or a negative errno. */
typedef int (*make_fn)(int family, size_t n, int *ret_fds);

static int make_sockets(int family, size_t n, int *ret_fds)
{
    for (size_t i = 0; i < n; i++) {
        ret_fds[i] = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (ret_fds[i] < 0) {
            int failure = -errno;
            while (i-- > 0)
                close(ret_fds[i]);
            return failure;
        }
    }
    return 0;
}

/* The sandbox would do it a moment later; a socket that is bound to an address of an interface that
 * is down answers from another. */
static int loopback_up(int fd)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};

    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int bind_resolver(int fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(RESOLVER_PORT)};
    int on = 1;

    inet_pton(AF_INET, RESOLVER_ADDRESS, &address.sin_addr);
    int r = loopback_up(fd);
    if (r == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        r = -errno;
    if (r == 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    return r;
}

static int make_resolver(int family, size_t n, int *ret_fds)
{
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
    cleanup_close int udp = -1, tcp = -1;
    int *const fds[] = {&udp, &tcp};

    (void)n;
    for (size_t i = 0; i < ELEMENTS(types); i++) {
        *fds[i] = socket(family, types[i] | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int r = *fds[i] < 0 ? -errno : bind_resolver(*fds[i]);
        if (r < 0)
            return r;
    }
    if (listen(tcp, 16) < 0)
        return -errno;
    ret_fds[0] = TAKE_FD(udp);
    ret_fds[1] = TAKE_FD(tcp);
    return 0;
}

static int make_netlink(int family, size_t n, int *ret_fds)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    cleanup_close int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    (void)n;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    *ret_fds = TAKE_FD(fd);
    return 0;
}

static int make_inside(int netns_fd, make_fn make, int family, size_t n, int *ret_fds,
                       struct error *err)
{
    cleanup_close int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (own < 0)
        return error_sys(err, errno, "open `/proc/self/ns/net`");
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        return error_sys(err, errno, "entering the sandbox's network namespace");
    int r = make(family, n, ret_fds);
    if (setns(own, CLONE_NEWNET) < 0)
        abort();
    return r < 0 ? error_sys(err, r, "socket in the sandbox's network namespace") : 0;
}

int netns_sockets(int netns_fd, int family, size_t n, int *ret_fds, struct error *err)
{
    return make_inside(netns_fd, make_sockets, family, n, ret_fds, err);
}

int netns_resolver_sockets(int netns_fd, int ret_fds[2], struct error *err)
{
    return make_inside(netns_fd, make_resolver, AF_INET, 2, ret_fds, err);
}

int netns_netlink(int netns_fd, struct error *err)
{
    int fd = -1;
    int r = make_inside(netns_fd, make_netlink, AF_NETLINK, 1, &fd, err);

    return r < 0 ? r : fd;
}
