/* Theory of operation. The init makes pipes or a terminal with the file-system identity of the
 * target user, so that the program may reopen /dev/stdout and its terminal, and forks. The child
 * walks a fixed table of steps; what must still be allowed decides their order: limits and the OOM
 * score while it is root, securebits and the bounding set while it has CAP_SETPCAP, the folder as
 * the user, the seccomp program last of all. Landlock holds it already (forker.h). A socket that
 * closes by itself when the program is executed carries the listener of the seccomp program and the
 * first step that failed. */
#include "init/spawn.h"

#include "init/boot.h"
#include "init/counters.h"
#include "init/forker.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/ipc.h"
#include "base/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A child that was stopped or starved before it could execute must not hold up the init. */
#define EXEC_TIMEOUT_MS 10000

struct child {
    const struct spawn *what;
    int stdio[3]; /* -1: /dev/null; a terminal: the controlling side in all three */
    int report_fd;
};

#define STEP_LISTENING (-1) /* the seccomp program's listener comes with it */

struct report {
    int err;
    int step;
};

static int result(int r)
{
    return r < 0 ? -errno : 0;
}

static int step_signals(const struct child *child)
{
    /* The kernel's struct, zero: SIG_DFL. The library's call leaves out the two signals that it
     * uses itself, which whoever started us may have had ignored. */
    static const struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } standard;
    sigset_t none;

    (void)child;
    for (int signal = 1; signal < NSIG; signal++)
        syscall(SYS_rt_sigaction, signal, &standard, NULL, sizeof(standard.mask));
    sigemptyset(&none);
    return result(sigprocmask(SIG_SETMASK, &none, NULL));
}

static int step_session(const struct child *child)
{
    (void)child;
    return result(setsid());
}

static int open_null(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int step_stdio(const struct child *child)
{
    int peer = -1, r = 0;

    if (child->what->tty) {
        peer = ioctl(child->stdio[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (peer < 0 || ioctl(peer, TIOCSCTTY, 0) < 0)
            return -errno;
    }
    for (int i = 0; r >= 0 && i < 3; i++) {
        int fd = peer >= 0 ? peer : child->stdio[i] >= 0 ? child->stdio[i] : open_null();
        r = fd < 0 ? fd : result(dup2(fd, i));
    }
    return r;
}

static int step_descriptors(const struct child *child)
{
    (void)child;
    return result((int)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC));
}

static int set_limit(int resource, rlim_t value)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return -errno;
    limit.rlim_max = value < limit.rlim_max ? value : limit.rlim_max;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(resource, &limit) < 0 && errno != EPERM)
        return -errno;
    return 0;
}

static int step_limits(const struct child *child)
{
    static const struct {
        const char *name;
        int resource;
    } limits[] = {{"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"core", RLIMIT_CORE},
                  {"stack", RLIMIT_STACK},   {"fsize", RLIMIT_FSIZE}, {"memlock", RLIMIT_MEMLOCK}};
    int r = 0;

    (void)child;
    for (size_t i = 0; r >= 0 && i < ELEMENTS(limits); i++) {
        json_t *value = json_object_get(boot.rlimits, limits[i].name);
        if (json_is_integer(value) && json_integer_value(value) >= 0)
            r = set_limit(limits[i].resource, (rlim_t)json_integer_value(value));
    }
    umask(022);
    /* Rather the project's processes than the init; a kernel that refuses changes nothing else. */
    prctl(PR_SET_DUMPABLE, 1); /* what init is not: then /proc/self would be root's of the host */
    file_write_existing(AT_FDCWD, "/proc/self/oom_score_adj", "500", NULL);
    return r;
}

static int step_securebits(const struct child *child)
{
    (void)child;
    return result(prctl(PR_SET_SECUREBITS,
                        SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                            SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                            SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
                        0, 0, 0));
}

static int step_bounding_set(const struct child *child)
{
    (void)child;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            return -errno;
    return 0;
}

static int step_ids(const struct child *child)
{
    uid_t id = child->what->as_root ? 0 : USER_ID;

    if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
        return -errno;
    return 0;
}

static int step_capabilities(const struct child *child)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

    (void)child;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    if (syscall(SYS_capset, &header, none) < 0)
        return -errno;
    return result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static int step_chdir(const struct child *child)
{
    return result(chdir(child->what->cwd));
}

static int send_report(int fd, const struct report *report, int passed_fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec data = {(void *)report, sizeof(*report)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

    if (passed_fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &passed_fd, sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    return result((int)sendmsg(fd, &message, MSG_NOSIGNAL));
}

/* What the program kills for then asks us first (forbidden.h). Where the whole daemon runs under
 * somebody else's listener there can be no second one: such calls then fail with ENOSYS. */
static int step_seccomp(const struct child *child)
{
    const struct report listening = {0, STEP_LISTENING};
    int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                          &boot.filter);

    if (fd < 0 && errno == EBUSY)
        return result(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &boot.filter, 0, 0));
    return fd < 0 ? -errno : send_report(child->report_fd, &listening, fd);
}

static const char *search_path(char *const *environment)
{
    for (; *environment; environment++)
        if (strncmp(*environment, "PATH=", 5) == 0)
            return *environment + 5;
    return "";
}

static int execute_in(const char *directory, size_t length, const struct spawn *what)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)length, length ? directory : ".",
                     what->argv[0]);

    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    execve(path, what->argv, what->environment);
    return -errno;
}

/* Returns only when it failed. As execvp: what exists but may not be executed is the better news.
 */
static int step_execute(const struct child *child)
{
    const struct spawn *what = child->what;
    const char *directory = search_path(what->environment);
    int r, kept = -ENOENT;

    if (strchr(what->argv[0], '/')) {
        execve(what->argv[0], what->argv, what->environment);
        return -errno;
    }
    for (;;) {
        size_t length = strcspn(directory, ":");
        r = execute_in(directory, length, what);
        if (r == -EACCES)
            kept = r;
        else if (r != -ENOENT && r != -ENOTDIR)
            return r;
        if (!directory[length])
            return kept;
        directory += length + 1;
    }
}

static const struct {
    const char *name;
    int (*run)(const struct child *child);
} steps[] = {
    {"signals", step_signals},           {"setsid", step_session},
    {"standard streams", step_stdio},    {"close_range", step_descriptors},
    {"resource limits", step_limits},    {"securebits", step_securebits},
    {"bounding set", step_bounding_set}, {"user ids", step_ids},
    {"capabilities", step_capabilities}, {"chdir", step_chdir},
    {"seccomp", step_seccomp},           {"execve", step_execute},
};

static void run_child(void *context)
{
    const struct child *child = context;
    struct report report = {0, 0};

    for (size_t i = 0; i < ELEMENTS(steps); i++) {
        report.err = -steps[i].run(child);
        report.step = (int)i;
        if (report.err != 0)
            break;
    }
    send_report(child->report_fd, &report, -1);
    _exit(127);
}

struct plumbing {
    int ours[3], theirs[3];
};

static int open_pipe(int *read_end, int *write_end)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *read_end = fds[0];
    *write_end = fds[1];
    return 0;
}

static int open_pipes(struct plumbing *plumbing, bool want_stdin)
{
    int r = want_stdin ? open_pipe(&plumbing->theirs[0], &plumbing->ours[0]) : 0;

    if (r >= 0)
        r = open_pipe(&plumbing->ours[1], &plumbing->theirs[1]);
    return r < 0 ? r : open_pipe(&plumbing->ours[2], &plumbing->theirs[2]);
}

static int open_terminal(struct plumbing *plumbing, const struct spawn *what)
{
    struct winsize size = {.ws_row = (unsigned short)(what->rows ? what->rows : 24),
                           .ws_col = (unsigned short)(what->cols ? what->cols : 80)};
    int unlock = 0;

    plumbing->ours[1] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (plumbing->ours[1] < 0 || ioctl(plumbing->ours[1], TIOCSPTLCK, &unlock) < 0 ||
        ioctl(plumbing->ours[1], TIOCSWINSZ, &size) < 0)
        return -errno;
    /* epoll knows a descriptor once, and input is watched apart from output. */
    plumbing->ours[0] = fcntl(plumbing->ours[1], F_DUPFD_CLOEXEC, 3);
    plumbing->theirs[0] = fcntl(plumbing->ours[1], F_DUPFD_CLOEXEC, 3);
    return plumbing->ours[0] < 0 || plumbing->theirs[0] < 0 ? -errno : 0;
}

static int open_plumbing(struct plumbing *plumbing, const struct spawn *what)
{
    uid_t id = what->as_root ? 0 : USER_ID;

    setfsgid(id);
    setfsuid(id);
    int r = what->tty ? open_terminal(plumbing, what) : open_pipes(plumbing, what->want_stdin);
    setfsuid(0);
    setfsgid(0);
    for (size_t i = 0; r >= 0 && i < ELEMENTS(plumbing->ours); i++)
        if (plumbing->ours[i] >= 0)
            r = fd_set_nonblock(plumbing->ours[i], true);
    return r;
}

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++)
        close_and_forget(&fds[i]);
}

/* What was missing to start anything at all is a limit of the sandbox's. */
static int limit_reached(int errnum, struct error *err)
{
    struct counters counters;

    counters_read(&counters);
    if (errnum == ENOMEM)
        return error_set_code(err, ENOMEM, "memory_limit",
                              "the sandbox's memory is used up (limits.memory: %lld bytes)",
                              (long long)counters.memory_limit);
    return error_set_code(err, EAGAIN, "pids_limit",
                          "the sandbox has as many processes and threads as limits.pids allows "
                          "(%lld)",
                          (long long)counters.pids_limit);
}

static int describe(const struct spawn *what, const struct report *report, struct error *err)
{
    const char *step = steps[report->step].name;
    const char *path = strcmp(step, "chdir") == 0 ? what->cwd : what->argv[0];

    if (report->err == EAGAIN || report->err == ENOMEM)
        return limit_reached(report->err, err);
    return error_set_code(err, report->err, "exec_failed", "%s `%.256s`: %s", step, path,
                          strerror(report->err));
}

/* As recvmsg; a descriptor that came along goes into *ret_passed. */
static ssize_t receive_report(int fd, struct report *ret_report, int *ret_passed)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {ret_report, sizeof(*ret_report)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    if (header && header->cmsg_type == SCM_RIGHTS) {
        close_and_forget(ret_passed);
        memcpy(ret_passed, CMSG_DATA(header), sizeof(int));
    }
    return n;
}

/* 0 once the program is executed; else the child is gone and reaped. */
static int await_exec(pid_t pid, int fd, const struct spawn *what, int *ret_listener,
                      struct error *err)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    struct report report = {.step = STEP_LISTENING};
    cleanup_close int listener = -1;
    ssize_t n = 1;

    while (n > 0 && report.step == STEP_LISTENING) {
        n = poll(&poll_fd, 1, EXEC_TIMEOUT_MS) > 0 ? receive_report(fd, &report, &listener) : -1;
        if (n < 0)
            report = (struct report){ETIMEDOUT, ELEMENTS(steps) - 1};
    }
    if (n == 0) {
        *ret_listener = TAKE_FD(listener);
        return 0;
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return describe(what, &report, err);
}

static int fork_child(const struct spawn *what, const struct plumbing *plumbing,
                      struct spawned *spawned, struct error *err)
{
    struct child child = {.what = what, .report_fd = -1};
    int pair[2];

    if (ipc_pair(pair) < 0)
        return error_sys(err, errno, "socketpair");
    cleanup_close int ours = pair[0];
    child.report_fd = pair[1];
    memcpy(child.stdio, plumbing->theirs, sizeof(child.stdio));
    pid_t pid = forker_fork(what->as_root, run_child, &child);
    close(child.report_fd);
    if (pid < 0)
        return pid == -EAGAIN || pid == -ENOMEM ? limit_reached(-pid, err)
                                                : error_sys(err, pid, "fork");
    spawned->pid = pid;
    return await_exec(pid, ours, what, &spawned->listener_fd, err);
}

int spawn(const struct spawn *what, struct spawned *ret_spawned, struct error *err)
{
    struct plumbing plumbing = {{-1, -1, -1}, {-1, -1, -1}};
    struct spawned spawned = {.listener_fd = -1};
    int r = open_plumbing(&plumbing, what);

    if (r < 0)
        error_sys(err, r, what->tty ? "opening a terminal" : "opening pipes");
    else
        r = fork_child(what, &plumbing, &spawned, err);
    close_all(plumbing.theirs);
    if (r < 0) {
        close_all(plumbing.ours);
        return r;
    }
    *ret_spawned = (struct spawned){spawned.pid, plumbing.ours[0], plumbing.ours[1],
                                    plumbing.ours[2], spawned.listener_fd};
    return 0;
}
