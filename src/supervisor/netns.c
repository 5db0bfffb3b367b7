/* Theory of operation: a socket belongs for ever to the network namespace that it was made in. So
 * the single thread steps into the sandbox's, makes sockets and steps back: 6 to 9 us. A thread
 * that could not come back would serve the wrong network, hence the abort. */
#include "supervisor/network.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

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

int netns_sockets(int netns_fd, int family, size_t n, int *ret_fds, struct error *err)
{
    cleanup_close int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (own < 0)
        return error_sys(err, errno, "open `/proc/self/ns/net`");
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        return error_sys(err, errno, "entering the sandbox's network namespace");
    int r = make_sockets(family, n, ret_fds);
    if (setns(own, CLONE_NEWNET) < 0)
        abort();
    return r < 0 ? error_sys(err, r, "socket") : 0;
}
