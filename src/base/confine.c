/* Theory of operation: see confine.h. The order: root, capabilities, filter, since each step takes
 * away what the next one no longer needs. */
#include "base/confine.h"

#include "base/cleanup.h"
#include "base/passed-fds.h"
#include "base/sanitizer.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* What libc, the allocator and jansson do in every program. W^X: nothing becomes executable. */
static const struct confine_call common[] = {
    {.name = "read"},
    {.name = "write"},
    {.name = "readv"},
    {.name = "writev"},
    {.name = "close"},
    {.name = "fstat"},
    {.name = "newfstatat"}, /* fstat of newer libc */
    {.name = "brk"},
    {.name = "mmap", .argument = 2, .mask = PROT_EXEC},
    {.name = "mprotect", .argument = 2, .mask = PROT_EXEC},
    {.name = "munmap"},
    {.name = "mremap"},
    {.name = "madvise"},
    {.name = "futex"},
    {.name = "sched_yield"},
    {.name = "sched_getaffinity"},
    {.name = "getrandom"},
    {.name = "clock_gettime"},
    {.name = "clock_nanosleep"},
    {.name = "gettimeofday"},
    {.name = "getpid"},
    {.name = "gettid"},
    {.name = "getuid"},
    {.name = "geteuid"},
    {.name = "rt_sigaction"},
    {.name = "rt_sigprocmask"},
    {.name = "rt_sigreturn"},
    {.name = "restart_syscall"},
    {.name = "tgkill"}, /* abort */
    {.name = "exit"},
    {.name = "exit_group"},
#ifdef WITH_SANITIZER /* its report and its search for leaks at the end */
    {.name = "clone"},
    {.name = "ptrace"},
    {.name = "wait4"},
    {.name = "prctl"},
    {.name = "sigaltstack"},
    {.name = "openat"},
    {.name = "open"},
    {.name = "readlink"},
    {.name = "getdents"},
    {.name = "getdents64"},
    {.name = "lseek"},
    {.name = "getppid"},
    {.name = "getrlimit"},
    {.name = "prlimit64"},
    {.name = "rt_sigtimedwait"},
    {.name = "pipe"},
    {.name = "process_vm_readv"},
#endif
};

/* Of no use to these programs, but the first steps out of one that was taken over. */
static const char *const fatal[] = {
    "execve",      "execveat",         "fork",       "vfork",          "mount",
    "umount2",     "pivot_root",       "chroot",     "setns",          "unshare",
    "open_tree",   "move_mount",       "fsopen",     "fsmount",        "mount_setattr",
    "bpf",         "init_module",      "kexec_load", "finit_module",   "perf_event_open",
    "userfaultfd", "keyctl",           "add_key",    "request_key",    "open_by_handle_at",
    "pidfd_getfd", "setuid",           "setresuid",  "io_uring_setup", "process_vm_writev",
#ifndef WITH_SANITIZER
    "ptrace",      "process_vm_readv",
#endif
};

static int enter_root(struct error *err)
{
    cleanup_close int root = passed_fd_take("root");

    if (root < 0)
        return error_sys(err, root, "the descriptor `root`");
    if (fchdir(root) < 0 || chroot(".") < 0 || chdir("/supervisor") < 0)
        return error_sys(err, errno, "entering the empty root");
    return 0;
}

static int drop_capabilities(struct error *err)
{
    cap_t none = cap_init();
    int r = none ? cap_set_proc(none) : -1;

    cap_free(none);
    return r < 0 ? error_sys(err, errno, "dropping capabilities") : 0;
}

static int add_rule(scmp_filter_ctx context, uint32_t action, const struct confine_call *call,
                    struct error *err)
{
    struct scmp_arg_cmp condition =
        SCMP_CMP64(call->argument, SCMP_CMP_MASKED_EQ, call->mask, call->equals);
    int number = seccomp_syscall_resolve_name(call->name);

    if (number < 0) /* not on this architecture, or younger than libseccomp */
        return 0;
    int r = seccomp_rule_add_array(context, action, number, call->mask ? 1 : 0, &condition);
    return r < 0 && r != -EEXIST ? error_sys(err, r, "filter rule for `%s`", call->name) : 0;
}

static int add_rules(scmp_filter_ctx context, const struct confine_call *calls, size_t n_calls,
                     struct error *err)
{
    struct confine_call clone3 = {.name = "clone3"};
    int r = 0;

    for (size_t i = 0; r == 0 && i < n_calls; i++)
        r = add_rule(context, SCMP_ACT_ALLOW, &calls[i], err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(common); i++)
        r = add_rule(context, SCMP_ACT_ALLOW, &common[i], err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(fatal); i++) {
        struct confine_call call = {.name = fatal[i]};
        r = add_rule(context, SCMP_ACT_KILL_PROCESS, &call, err);
    }
    /* its arguments cannot be looked at: libc takes clone instead */
    return r < 0 ? r : add_rule(context, SCMP_ACT_ERRNO(ENOSYS), &clone3, err);
}

int confine_calls(const struct confine_call *calls, size_t n_calls, struct error *err)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    if (!context)
        return error_oom(err);
    int r = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = add_rules(context, calls, n_calls, err);
    else
        error_sys(err, r, "libseccomp");
    if (r == 0) {
        r = seccomp_load(context);
        if (r < 0)
            error_sys(err, r, "installing the system call filter");
    }
    seccomp_release(context);
    return r;
}

int confine(const struct confine_call *calls, size_t n_calls, struct error *err)
{
    int r = enter_root(err);

    if (r == 0)
        r = drop_capabilities(err);
#ifndef WITH_SANITIZER /* LeakSanitizer traces the process from within */
    if (r == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
        r = error_sys(err, errno, "PR_SET_DUMPABLE");
#endif
    return r == 0 ? confine_calls(calls, n_calls, err) : r;
}
