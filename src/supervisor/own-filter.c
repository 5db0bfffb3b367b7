/* Theory of operation: see own-filter.h. The programs are compiled once and kept in memory, so that
 * a launch only installs one. */
#include "supervisor/own-filter.h"

#include "base/cleanup.h"
#include "base/sanitizer.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* The host's kernel and its configuration, and what only widens the way into it. */
static const char *const host[] = {
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "iopl",
    "ioperm",
    "syslog",
    "vhangup",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "keyctl",
    "add_key",
    "request_key",
    "open_by_handle_at",
    "lookup_dcookie",
    "modify_ldt",
    "uselib",
    "nfsservctl",
    "fanotify_init",
    "kcmp",
    "process_vm_writev",
#ifndef WITH_SANITIZER /* LeakSanitizer stops the other threads with them */
    "ptrace",
    "process_vm_readv",
#endif
};

/* A sandbox is complete when its init starts. */
static const char *const sandbox[] = {
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "setns",
    "unshare",
    "ptrace",
    "process_vm_readv",
    "pidfd_getfd",
    "name_to_handle_at",
    "quotactl",
    "quotactl_fd",
    "sethostname",
    "setdomainname",
    "migrate_pages",
    "move_pages",
};

/* No namespace within a sandbox; clone3, whose flags a filter cannot see, does not exist there. */
static const uint64_t namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,   CLONE_NEWIPC,
                                      CLONE_NEWUTS,  CLONE_NEWNET, CLONE_NEWCGROUP};

static struct sock_fprog for_auracoded, for_init;

static int add(scmp_filter_ctx context, const char *name, uint32_t action, struct error *err)
{
    int number = seccomp_syscall_resolve_name(name);
    int r = number < 0 ? 0 : seccomp_rule_add_array(context, action, number, 0, NULL);

    return r < 0 && r != -EEXIST ? error_sys(err, r, "filter rule for `%s`", name) : 0;
}

static int add_list(scmp_filter_ctx context, const char *const *names, size_t n_names,
                    struct error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n_names; i++)
        r = add(context, names[i], SCMP_ACT_ERRNO(EPERM), err);
    return r;
}

static int add_sandbox(scmp_filter_ctx context, struct error *err)
{
    int r = add_list(context, sandbox, ELEMENTS(sandbox), err);

    if (r == 0)
        r = add(context, "clone3", SCMP_ACT_ERRNO(ENOSYS), err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(namespaces); i++)
        r = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
    return r < 0 && err && !err->err ? error_sys(err, r, "filter rule for `clone`") : r;
}

static int export_program(scmp_filter_ctx context, struct sock_fprog *ret_program,
                          struct error *err)
{
    cleanup_close int fd = memfd_create("auracode-filter", MFD_CLOEXEC);
    struct stat status;

    int r = fd < 0 ? -errno : seccomp_export_bpf(context, fd);
    if (r < 0 || fstat(fd, &status) < 0)
        return error_sys(err, r < 0 ? r : errno, "compiling a filter");
    cleanup_free struct sock_filter *code = malloc((size_t)status.st_size);
    if (!code)
        return error_oom(err);
    if (pread(fd, code, (size_t)status.st_size, 0) != status.st_size)
        return error_sys(err, errno, "reading a filter");
    free(ret_program->filter);
    ret_program->len = (unsigned short)((size_t)status.st_size / sizeof(*code));
    ret_program->filter = TAKE_PTR(code);
    return 0;
}

static int compile(bool inside, struct sock_fprog *ret_program, struct error *err)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);

    if (!context)
        return error_oom(err);
    int r = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    /* ENOSYS for us, who have no listener. To kill here would go before what the policy's program,
     * which inherits this one, does about them: its listener names the call (init/forbidden.h). */
    if (r == 0)
        r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_NOTIFY);
    if (r < 0)
        error_sys(err, r, "libseccomp");
    if (r == 0)
        r = inside ? add_sandbox(context, err) : add_list(context, host, ELEMENTS(host), err);
    if (r == 0)
        r = export_program(context, ret_program, err);
    seccomp_release(context);
    return r;
}

int own_filters_compile(struct error *err)
{
    int r = compile(false, &for_auracoded, err);

    return r == 0 ? compile(true, &for_init, err) : r;
}

int own_filter_install(struct error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_sys(err, errno, "PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &for_auracoded) < 0)
        return error_sys(err, errno, "installing the system call filter");
    return 0;
}

int own_filter_install_init(void)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &for_init) < 0 ? -errno : 0;
}
