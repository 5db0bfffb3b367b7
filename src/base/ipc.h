/* Packets between our own programs: SOCK_SEQPACKET, one JSON object a packet of at most 64 KiB, up
 * to 16 descriptors by SCM_RIGHTS. Non-blocking and free of any event loop: the owner polls `fd`
 * for POLLIN always and for POLLOUT while ipc_pending(). The peer is treated as hostile: what is
 * too large, malformed or carries too many descriptors ends the connection with -EPROTO. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_PACKET_MAX      65536u
#define IPC_FDS_MAX         16u
#define IPC_QUEUE_MAX       512u /* packets waiting for a slow peer before the connection is given up */
#define IPC_QUEUE_BYTES_MAX (8u << 20) /* the same in bytes */

struct ipc_fds {
    int fd[IPC_FDS_MAX];
    size_t count;
};

void ipc_fds_close(struct ipc_fds *fds);

/* Takes descriptor number i out of the set; -1 if there is none. */
int ipc_fds_take(struct ipc_fds *fds, size_t i);

#define cleanup_fds __attribute__((cleanup(ipc_fds_close)))

struct ipc_packet;

struct ipc {
    int fd;
    struct ipc_packet *out_first, *out_last;
    size_t out_count, out_bytes;
    bool answers_first; /* input can wait while output does: its watcher polls for POLLOUT alone */
    /* Called when output starts or stops waiting for the peer; may be NULL. */
    void (*on_pending)(struct ipc *ipc, bool pending);
    void *userdata;
};

/* Takes `fd` and makes it non-blocking and close-on-exec. */
void ipc_init(struct ipc *ipc, int fd);
void ipc_close(struct ipc *ipc);

static inline bool ipc_pending(const struct ipc *ipc)
{
    return ipc->out_first != NULL;
}

/* Sends, or queues behind what waits. Descriptors are borrowed (queued packets hold duplicates).
 * -EMSGSIZE: over 64 KiB. -ENOBUFS: the peer does not read. -EPIPE/-ECONNRESET: it is gone. */
int ipc_send(struct ipc *ipc, const json_t *message, const int *fds, size_t n_fds);

/* Sends what waits; 0 or a negative errno. */
int ipc_flush(struct ipc *ipc);

/* 1: a message, 0: nothing more now, -ECONNRESET: closed by the peer, -EPROTO: malformed. */
int ipc_receive(struct ipc *ipc, json_t **ret_message, struct ipc_fds *ret_fds);

/* A connected, close-on-exec pair / a connection to a socket file / a listening socket file.
 * The path is resolved relative to dir_fd through /proc/self/fd, so it may be longer than sun_path;
 * with AT_FDCWD no /proc is needed.
 */
int ipc_pair(int ret_fds[2]);
int ipc_connect(int dir_fd, const char *name, struct error *err);
int ipc_listen(int dir_fd, const char *name, mode_t mode, int backlog, struct error *err);
