/* How a host program that listens to the network gives up what it does not need, once it has
 * started.
 *
 * The supervisor starts it in a mount namespace of its own, as its own user, with no_new_privs and
 * with one capability, CAP_SYS_CHROOT, and passes a folder as the descriptor "root"
 * (supervisor/jail.h). When everything is open the program enters that folder, drops the capability
 * and filters its system calls; nothing of the host's file system can be named from then on.
 *
 * Of a call that is not listed: EPERM. Of one that only an attacker makes (execve, ptrace,
 * mount...): the process is killed. */
#pragma once

#include "base/error.h"

#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* An entry of a list of system calls; with `mask`, only if (argument & mask) == equals. Several
 * entries of one call are alternatives. */
struct confine_call {
    const char *name;
    unsigned int argument; /* 0..5 */
    unsigned int mask;     /* 0: any arguments */
    unsigned int equals;
};

/* What several of the lists are made of. */

/* clang-format off */

/* Threads, no processes. */
#define CONFINE_THREADS                                                                            \
    {.name = "clone", .argument = 0, .mask = CLONE_THREAD, .equals = CLONE_THREAD},                \
    {.name = "set_robust_list"}, {.name = "rseq"}

/* An event loop on epoll. */
#define CONFINE_LOOP                                                                               \
    {.name = "epoll_create1"}, {.name = "epoll_ctl"}, {.name = "epoll_wait"},                      \
    {.name = "epoll_pwait"}, {.name = "poll"}, {.name = "timerfd_create"},                         \
    {.name = "timerfd_settime"}

/* Connections to Unix sockets, and what is done with connections of any kind. */
#define CONFINE_CONNECTIONS                                                                        \
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX}, {.name = "connect"}, \
    {.name = "getsockopt"}, {.name = "setsockopt"}, {.name = "sendto"}, {.name = "sendmsg"},       \
    {.name = "recvfrom"}, {.name = "recvmsg"}, {.name = "shutdown"}, {.name = "fcntl"}

/* Besides these, for a client by libcurl: it wakes itself by a pair of sockets, libc asks name
 * servers, and both read the /etc/resolv.conf, /etc/hosts and /etc/ssl/certs of the jail. */
#define CONFINE_CURL                                                                               \
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET},                      \
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_INET6},                     \
    {.name = "socketpair"}, {.name = "pipe2"}, {.name = "eventfd2"}, {.name = "ppoll"},            \
    {.name = "getsockname"}, {.name = "getpeername"}, {.name = "sendmmsg"},                        \
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONREAD},                      \
    {.name = "ioctl", .argument = 1, .mask = 0xffffffff, .equals = FIONBIO},                       \
    {.name = "openat"}, {.name = "stat"}, {.name = "statx"}, {.name = "lseek"},                    \
    {.name = "uname"}

/* clang-format on */

/* Before any thread is started: takes the descriptor "root" (passed-fds.h), makes it the root,
 * drops every capability and installs a filter of `calls` and of what every program needs (memory,
 * time, signals, its own end). The supervisor's socket is at ./supervisor.sock afterwards. */
int confine(const struct confine_call *calls, size_t n_calls, struct error *err);

/* The filter alone, for a process that keeps its root and has dropped what it can itself. Needs
 * no_new_privs. */
int confine_calls(const struct confine_call *calls, size_t n_calls, struct error *err);
