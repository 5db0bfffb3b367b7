/* Theory of operation: see ipc.h. A packet is sent at once where the socket takes it; otherwise it
 * is copied, with duplicates of its descriptors, to a queue that ipc_flush empties in order. */
#include "base/ipc.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct ipc_packet {
    struct ipc_packet *next;
    struct ipc_fds fds;
    size_t length;
    char text[];
};

union control {
    char buffer[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    struct cmsghdr align;
};

void ipc_fds_close(struct ipc_fds *fds)
{
    for (size_t i = 0; i < fds->count; i++)
        close_and_forget(&fds->fd[i]);
    fds->count = 0;
}

int ipc_fds_take(struct ipc_fds *fds, size_t i)
{
    return i < fds->count ? TAKE_FD(fds->fd[i]) : -1;
}

void ipc_init(struct ipc *ipc, int fd)
{
    *ipc = (struct ipc){.fd = fd};
    fd_set_nonblock(fd, true);
    fd_set_cloexec(fd, true);
}

static void drop_first(struct ipc *ipc)
{
    struct ipc_packet *packet = ipc->out_first;

    ipc->out_first = packet->next;
    if (!ipc->out_first)
        ipc->out_last = NULL;
    ipc->out_count--;
    ipc->out_bytes -= packet->length;
    ipc_fds_close(&packet->fds);
    free(packet);
}

void ipc_close(struct ipc *ipc)
{
    while (ipc->out_first)
        drop_first(ipc);
    close_and_forget(&ipc->fd);
}

static int send_now(int socket, const char *text, size_t length, const int *fds, size_t n_fds)
{
    union control control = {0};
    struct iovec part = {.iov_base = (char *)text, .iov_len = length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds > 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    while (sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int duplicate_fds(struct ipc_fds *target, const int *fds, size_t n_fds)
{
    for (; target->count < n_fds; target->count++) {
        int copy = fcntl(fds[target->count], F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
            return -errno;
        target->fd[target->count] = copy;
    }
    return 0;
}

static int enqueue(struct ipc *ipc, const char *text, size_t length, const int *fds, size_t n_fds)
{
    if (ipc->out_count >= IPC_QUEUE_MAX || ipc->out_bytes + length > IPC_QUEUE_BYTES_MAX)
        return -ENOBUFS;
    struct ipc_packet *packet = calloc(1, sizeof(*packet) + length);
    if (!packet)
        return -ENOMEM;
    packet->length = length;
    memcpy(packet->text, text, length);
    int r = duplicate_fds(&packet->fds, fds, n_fds);
    if (r < 0) {
        ipc_fds_close(&packet->fds);
        free(packet);
        return r;
    }
    if (ipc->out_last)
        ipc->out_last->next = packet;
    else
        ipc->out_first = packet;
    ipc->out_last = packet;
    ipc->out_bytes += length;
    if (ipc->out_count++ == 0 && ipc->on_pending)
        ipc->on_pending(ipc, true);
    return 0;
}

int ipc_send(struct ipc *ipc, const json_t *message, const int *fds, size_t n_fds)
{
    if (ipc->fd < 0)
        return -ECONNRESET;
    if (n_fds > IPC_FDS_MAX)
        return -EMSGSIZE;
    cleanup_free char *text = json_dumps(message, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    size_t length = strlen(text);
    if (length > IPC_PACKET_MAX)
        return -EMSGSIZE;
    if (!ipc_pending(ipc)) {
        int r = send_now(ipc->fd, text, length, fds, n_fds);
        if (r != -EAGAIN)
            return r;
    }
    return enqueue(ipc, text, length, fds, n_fds);
}

int ipc_flush(struct ipc *ipc)
{
    while (ipc->out_first) {
        struct ipc_packet *packet = ipc->out_first;
        int r = send_now(ipc->fd, packet->text, packet->length, packet->fds.fd, packet->fds.count);
        if (r == -EAGAIN)
            return 0;
        if (r < 0)
            return r;
        drop_first(ipc);
        if (!ipc->out_first && ipc->on_pending)
            ipc->on_pending(ipc, false);
    }
    return 0;
}

static void collect_fds(struct msghdr *header, struct ipc_fds *fds)
{
    struct cmsghdr *cmsg;

    for (cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && fds->count < IPC_FDS_MAX; i++)
            memcpy(&fds->fd[fds->count++], CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
    }
}

static int parse_message(const char *text, size_t length, json_t **ret_message)
{
    json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(message)) {
        json_decref(message);
        return -EPROTO;
    }
    *ret_message = message;
    return 1;
}

int ipc_receive(struct ipc *ipc, json_t **ret_message, struct ipc_fds *ret_fds)
{
    static _Thread_local char text[IPC_PACKET_MAX + 1]; /* too large for a stack */
    union control control;
    struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.buffer,
                            .msg_controllen = sizeof(control.buffer)};
    cleanup_fds struct ipc_fds fds = {.count = 0};
    ssize_t n;

    do
        n = recvmsg(ipc->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    collect_fds(&header, &fds);
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)n > IPC_PACKET_MAX)
        return -EPROTO;
    int r = parse_message(text, (size_t)n, ret_message);
    if (r > 0) {
        *ret_fds = fds;
        fds.count = 0;
    }
    return r;
}

int ipc_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

static int socket_address(int dir_fd, const char *name, struct sockaddr_un *address)
{
    address->sun_family = AF_UNIX;
    size_t size = sizeof(address->sun_path);
    int n = dir_fd == AT_FDCWD
                ? snprintf(address->sun_path, size, "%s", name)
                : snprintf(address->sun_path, size, "/proc/self/fd/%d/%s", dir_fd, name);
    return n < 0 || (size_t)n >= sizeof(address->sun_path) ? -ENAMETOOLONG : 0;
}

int ipc_connect(int dir_fd, const char *name, struct error *err)
{
    struct sockaddr_un address;
    cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return error_sys(err, errno, "socket");
    int r = socket_address(dir_fd, name, &address);
    if (r == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    if (r < 0)
        return error_sys(err, r, "connect to `%s`", name);
    return TAKE_FD(fd);
}

int ipc_listen(int dir_fd, const char *name, mode_t mode, int backlog, struct error *err)
{
    struct sockaddr_un address;
    cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return error_sys(err, errno, "socket");
    int r = socket_address(dir_fd, name, &address);
    unlinkat(dir_fd, name, 0);
    if (r == 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    if (r == 0 && fchmodat(dir_fd, name, mode, 0) < 0)
        r = -errno;
    if (r == 0 && listen(fd, backlog) < 0)
        r = -errno;
    if (r < 0)
        return error_sys(err, r, "listen on `%s`", name);
    return TAKE_FD(fd);
}
