/* Theory of operation: see stage.h. The order is fixed: cgroup entry, wait for the ids, become root
 * of the new user namespace, mounts, network loopback, then give up everything that init does not
 * need, and execute it from a sealed descriptor, so that no file of the host is ever executable or
 * writable from inside (CVE-2019-5736). */
#include "supervisor/stage.h"

#include "supervisor/mounts.h"
#include "supervisor/own-filter.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int enter_cgroups(const struct stage *stage, struct error *err)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        int fd = stage->cgroup->procs_fd[i];
        if (fd >= 0 && write(fd, "0", 1) < 0)
            return error_sys(err, errno, "entering a v1 cgroup");
    }
    if (unshare(CLONE_NEWCGROUP) < 0)
        return error_sys(err, errno, "unshare the cgroup namespace");
    return 0;
}

/* Blocks until the supervisor has mapped our ids and sends the mounts: see STAGE_MOUNTS_MAX. */
static int wait_for_supervisor(const struct stage *stage, struct ipc_fds *ret_fds,
                               struct error *err)
{
    struct ipc ipc;
    json_t *message;
    struct pollfd wait = {.fd = stage->sync_fd, .events = POLLIN};

    ipc_init(&ipc, stage->sync_fd);
    while (poll(&wait, 1, -1) < 0)
        if (errno != EINTR)
            return error_sys(err, errno, "poll for the supervisor");
    int r = ipc_receive(&ipc, &message, ret_fds);
    if (r <= 0)
        return error_sys(err, r == 0 ? EPROTO : r, "waiting for the supervisor");
    json_decref(message);
    if (ret_fds->count != stage->n_layers + 1 + STAGE_VIEWS)
        return error_set(err, EPROTO, "expected %zu mounts from the supervisor, got %zu",
                         stage->n_layers + 1 + STAGE_VIEWS, ret_fds->count);
    return 0;
}

static int become_root(struct error *err)
{
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return error_sys(err, errno, "becoming root of the user namespace");
    if (prctl(PR_SET_DUMPABLE, 0) < 0) /* nobody may ptrace us from here on (CVE-2016-8659) */
        return error_sys(err, errno, "PR_SET_DUMPABLE");
    return 0;
}

static int loopback_up(struct error *err)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return error_sys(err, errno, "bringing up the loopback interface");
    return 0;
}

/* Empties all sets but for what the policy leaves the init. */
static int drop_capabilities(uint64_t kept, struct error *err)
{
    cap_t set = cap_init();
    int r = set ? 0 : -ENOMEM;

    for (cap_value_t capability = 0; r == 0 && CAP_IS_SUPPORTED(capability); capability++) {
        bool keep = kept >> capability & 1;
        if (!keep && cap_drop_bound(capability) < 0)
            r = -errno;
        for (int flag = CAP_EFFECTIVE; keep && r == 0 && flag <= CAP_PERMITTED; flag++)
            r = cap_set_flag(set, (cap_flag_t)flag, 1, &capability, CAP_SET);
    }
    if (r == 0 &&
        (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || cap_set_proc(set) < 0))
        r = -errno;
    cap_free(set);
    return r < 0 ? error_sys(err, r, "dropping capabilities") : 0;
}

static int harden(const struct policy *policy, struct error *err)
{
    struct rlimit no_core = {0, 0};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setrlimit(RLIMIT_CORE, &no_core);
    int r = drop_capabilities(policy->init_capabilities, err);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = error_sys(err, errno, "PR_SET_NO_NEW_PRIVS");
    if (r == 0) {
        r = own_filter_install_init();
        if (r < 0)
            error_sys(err, r, "installing the init's system call filter");
    }
    return r;
}

#define STATUS_FD  6
#define COUNTER_FD 7 /* the first */
#define INIT_FD    (COUNTER_FD + COUNTER_FILES)

/* Standard streams on the sandbox's /dev/null, then 3.. as init expects them, then nothing more. */
static int arrange_descriptors(const struct stage *stage, int *ret_status_fd, struct error *err)
{
    int wanted[4 + COUNTER_FILES + 1] = {stage->listen_fd, stage->boot_fd, stage->seccomp_fd,
                                         stage->status_fd};
    int high[ELEMENTS(wanted)];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return error_sys(err, errno, "open `/dev/null` of the sandbox");
    memcpy(wanted + 4, stage->counter_fds, sizeof(stage->counter_fds));
    wanted[4 + COUNTER_FILES] = stage->init_fd;
    for (size_t i = 0; i < ELEMENTS(wanted); i++) {
        high[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, 512);
        if (high[i] < 0)
            return error_sys(err, errno, "arranging descriptors");
    }
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    for (int i = 0; i < INIT_FD - 3; i++)
        dup2(high[i], 3 + i);
    if (dup3(high[INIT_FD - 3], INIT_FD, O_CLOEXEC) < 0)
        return error_sys(err, errno, "arranging descriptors");
    *ret_status_fd = STATUS_FD;
    if (close_range(INIT_FD + 1, ~0U, 0) < 0)
        return error_sys(err, errno, "close_range");
    return 0;
}

static int run(const struct stage *stage, int *ret_status_fd, struct error *err)
{
    struct ipc_fds mounts = {.count = 0};
    char *const arguments[] = {"auracode-init", NULL}, *const environment[] = {NULL};

    prctl(PR_SET_NAME, "auracode-stage");
    /* Until the ids change, which clears it: whoever waits for a supervisor that has died holds
     * copies of its descriptors, so that its programs would not learn of its end. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int r = enter_cgroups(stage, err);
    if (r == 0)
        r = wait_for_supervisor(stage, &mounts, err);
    if (r == 0)
        r = become_root(err);
    if (r == 0)
        r = mounts_enter(stage, mounts.fd, mounts.fd[stage->n_layers],
                         mounts.fd + stage->n_layers + 1, err);
    if (r == 0)
        r = loopback_up(err);
    if (r == 0 && sethostname(stage->hostname, strlen(stage->hostname)) < 0)
        r = error_sys(err, errno, "sethostname");
    if (r == 0)
        r = harden(stage->policy, err);
    if (r == 0)
        r = arrange_descriptors(stage, ret_status_fd, err);
    if (r < 0)
        return r;
    execveat(INIT_FD, "", arguments, environment, AT_EMPTY_PATH);
    return error_sys(err, errno, "execute auracode-init");
}

_Noreturn void stage_run(const struct stage *stage)
{
    struct error err = ERROR_NONE;
    int status_fd = stage->status_fd;

    run(stage, &status_fd, &err);
    cleanup_json json_t *report = json_pack("{s:o}", "error", error_to_json(&err));
    if (report && json_dumpfd(report, status_fd, JSON_COMPACT) < 0)
        _exit(2);
    _exit(1);
}
