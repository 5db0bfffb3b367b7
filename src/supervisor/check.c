/* Theory of operation: a table of checks, each of which tries the thing itself where that is
 * possible without leaving a trace, rather than guess from a version. */
#include "supervisor/check.h"

#include "supervisor/bundles.h"

#include "supervisor/certificates.h"
#include "supervisor/cgroup.h"
#include "supervisor/disk.h"
#include "supervisor/jwks.h"
#include "supervisor/policy.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/landlock.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <nftables/libnftables.h>
#include <pwd.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum verdict { OK, WARN, MISSING };

struct check {
    const char *name;
    enum verdict (*run)(const struct config *config, char *ret_detail, size_t size);
    const char *advice;
};

static enum verdict check_root(const struct config *config, char *ret_detail, size_t size)
{
    (void)config;
    snprintf(ret_detail, size, "effective uid %u", geteuid());
    return geteuid() == 0 ? OK : MISSING;
}

static enum verdict check_kernel(const struct config *config, char *ret_detail, size_t size)
{
    struct utsname name;
    unsigned int major = 0, minor = 0;

    (void)config;
    uname(&name);
    sscanf(name.release, "%u.%u", &major, &minor);
    snprintf(ret_detail, size, "Linux %s", name.release);
    return major > 5 || (major == 5 && minor >= 19) ? OK : MISSING;
}

/* Runs in a child, which takes whatever it made with it. */
static enum verdict try_in_child(int flags, char *ret_detail, size_t size)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(flags) < 0 ? errno : 0);
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
        return MISSING;
    snprintf(ret_detail, size, "%s", WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : "works");
    return WEXITSTATUS(status) ? MISSING : OK;
}

static enum verdict check_namespaces(const struct config *config, char *ret_detail, size_t size)
{
    (void)config;
    return try_in_child(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                            CLONE_NEWNET | CLONE_NEWCGROUP,
                        ret_detail, size);
}

/* Asked for, since /proc/filesystems lists a module only once something has loaded it. */
static enum verdict check_overlay(const struct config *config, char *ret_detail, size_t size)
{
    cleanup_close int context = fsopen("overlay", FSOPEN_CLOEXEC);

    (void)config;
    snprintf(ret_detail, size, "%s", context < 0 ? strerror(errno) : "works");
    return context < 0 ? MISSING : OK;
}

static enum verdict check_cgroups(const struct config *config, char *ret_detail, size_t size)
{
    struct cgroup_tree tree;
    struct error err = ERROR_NONE;

    (void)config;
    if (cgroup_tree_find(&tree, &err) < 0) {
        snprintf(ret_detail, size, "%s", err.message);
        return MISSING;
    }
    snprintf(ret_detail, size, "%s: memory %s, cpu %s, pids %s", cgroup_tree_mode(&tree),
             tree.mount[CGROUP_MEMORY][0] ? "yes" : "no", tree.mount[CGROUP_CPU][0] ? "yes" : "no",
             tree.mount[CGROUP_PIDS][0] ? "yes" : "no");
    return tree.mount[CGROUP_MEMORY][0] && tree.mount[CGROUP_CPU][0] && tree.mount[CGROUP_PIDS][0]
               ? OK
               : MISSING;
}

static enum verdict check_pidfd(const struct config *config, char *ret_detail, size_t size)
{
    cleanup_close int fd = pidfd_open(getpid(), 0);

    (void)config;
    snprintf(ret_detail, size, "%s", fd < 0 ? strerror(errno) : "works");
    return fd < 0 ? MISSING : OK;
}

/* Each action that our filters use (seccomp(2), Linux 4.14). */
static enum verdict check_seccomp(const struct config *config, char *ret_detail, size_t size)
{
    static const uint32_t actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO};
    bool works = true;

    (void)config;
    for (size_t i = 0; i < ELEMENTS(actions); i++)
        works = works && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]) == 0;
    snprintf(ret_detail, size, "%s", works ? "filters work" : strerror(errno));
    return works ? OK : MISSING;
}

static enum verdict check_landlock(const struct config *config, char *ret_detail, size_t size)
{
    int abi = landlock_abi();

    (void)config;
    if (abi == 0)
        snprintf(ret_detail, size, "%s", strerror(errno));
    else
        snprintf(ret_detail, size, "ABI %d: %s", abi, landlock_features(abi));
    return abi == 0 ? WARN : OK;
}

/* Where the roots of the programs on the network are put together (jail.h). */
static enum verdict check_staging(const struct config *config, char *ret_detail, size_t size)
{
    struct stat status;
    bool found = stat("/mnt", &status) == 0 && S_ISDIR(status.st_mode);

    (void)config;
    snprintf(ret_detail, size, "/mnt is %s", found ? "a folder" : "no folder");
    return found ? OK : MISSING;
}

static enum verdict check_nftables(const struct config *config, char *ret_detail, size_t size)
{
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);

    (void)config;
    if (!context)
        return MISSING;
    nft_ctx_buffer_output(context);
    nft_ctx_buffer_error(context);
    int r = nft_run_cmd_from_buffer(context, "list tables");
    nft_ctx_free(context);
    snprintf(ret_detail, size, "%s", r == 0 ? "the ruleset can be read" : "no answer");
    return r == 0 ? OK : MISSING;
}

static enum verdict check_user(const char *name, char *ret_detail, size_t size)
{
    struct passwd *user = getpwnam(name);

    if (user)
        snprintf(ret_detail, size, "`%s` is uid %u", name, user->pw_uid);
    else
        snprintf(ret_detail, size, "there is no `%s`", name);
    return user && user->pw_uid != 0 ? OK : MISSING;
}

static enum verdict check_api_user(const struct config *config, char *ret_detail, size_t size)
{
    return check_user(config->api_user, ret_detail, size);
}

static enum verdict check_proxy_user(const struct config *config, char *ret_detail, size_t size)
{
    return check_user(config->proxy_user, ret_detail, size);
}

static enum verdict check_policy(const struct config *config, char *ret_detail, size_t size)
{
    struct error err = ERROR_NONE;
    struct policies policies = {.directory = config->policies_dir};
    const struct policy *policy;
    struct stat status;

    int r = policies_load(&policies, &err);
    if (r == 0)
        r = policy_find(&policies, config->sandbox_policy, &policy, &err);
    if (r == 0 && fstat(policy->program_fd, &status) < 0)
        r = error_sys(&err, errno, "policy `%s`", config->sandbox_policy);
    if (r < 0)
        snprintf(ret_detail, size, "%s", err.message);
    else
        snprintf(ret_detail, size, "`%s` compiles to %lld instructions", config->sandbox_policy,
                 (long long)status.st_size / 8);
    policies_free(&policies);
    return r < 0 ? MISSING : OK;
}

/* The state directory may not be there yet: then of the folder that it will be in. */
static int open_state(const char *state_dir)
{
    cleanup_free char *path = strdup(state_dir);
    int fd = -1;

    while (path && *path && fd < 0) {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char *slash = strrchr(path, '/');
        if (fd < 0 && slash)
            slash[slash == path ? 1 : 0] = '\0';
        if (fd < 0 && (!slash || errno != ENOENT))
            break;
    }
    return fd;
}

static enum verdict check_resolver_user(const struct config *config, char *ret_detail, size_t size)
{
    return check_user(config->egress_user, ret_detail, size);
}

static enum verdict check_fetch_user(const struct config *config, char *ret_detail, size_t size)
{
    if (jwks_wanted(config))
        return check_user(config->auth_fetch_user, ret_detail, size);
    snprintf(ret_detail, size, "not needed: [auth] jwks_url is no URL of http(s)");
    return OK;
}

static enum verdict check_hook_user(const struct config *config, char *ret_detail, size_t size)
{
    return check_user(config->webhooks_user, ret_detail, size);
}

static enum verdict check_bundles(const struct config *config, char *ret_detail, size_t size)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *bundles = NULL;

    if (bundles_load(config->egress_bundles, &bundles, &err) < 0) {
        snprintf(ret_detail, size, "%s", err.message);
        return MISSING;
    }
    snprintf(ret_detail, size, "%zu in `%s`", json_object_size(bundles), config->egress_bundles);
    return OK;
}

static enum verdict check_disk(const struct config *config, char *ret_detail, size_t size)
{
    struct error err = ERROR_NONE;
    char text[160] = "";
    cleanup_close int state = open_state(config->state_dir);
    const struct disk_backend *disk =
        state < 0 ? NULL : disk_choose_for(config, state, text, sizeof(text), &err);

    if (disk)
        snprintf(ret_detail, size, "%s: %s", disk->name, text);
    else
        snprintf(ret_detail, size, "%s", state < 0 ? strerror(errno) : err.message);
    return !disk ? MISSING : disk == &disk_plain ? WARN : OK;
}

static enum verdict check_base(const struct config *config, char *ret_detail, size_t size)
{
    cleanup_free char *path = str_format("%s/base/template.json", config->templates_dir);
    bool found = path && access(path, R_OK) == 0;

    snprintf(ret_detail, size, "%s %s", path ? path : "", found ? "is there" : "is not there");
    return found ? OK : WARN;
}

static const struct check checks[] = {
    {"root", check_root, "run it as root"},
    {"kernel", check_kernel, "Linux 5.19 or newer: idmapped layers of overlay"},
    {"namespaces", check_namespaces,
     "allow them: sysctl user.max_user_namespaces, and on Ubuntu "
     "kernel.apparmor_restrict_unprivileged_userns=0"},
    {"overlay", check_overlay, "modprobe overlay"},
    {"cgroups", check_cgroups,
     "mount cgroup2 on /sys/fs/cgroup, or memory, cpu and pids of cgroup v1"},
    {"pidfd", check_pidfd, "Linux 5.3 or newer"},
    {"seccomp", check_seccomp, "a kernel with CONFIG_SECCOMP_FILTER"},
    {"landlock", check_landlock, "a kernel with CONFIG_SECURITY_LANDLOCK and lsm=landlock,..."},
    {"staging", check_staging, "mkdir /mnt"},
    {"nftables", check_nftables, "modprobe nf_tables"},
    {"API user", check_api_user, "useradd --system auracode"},
    {"proxy user", check_proxy_user, "useradd --system auracode-proxy"},
    {"resolver user", check_resolver_user, "useradd --system auracode-resolver"},
    {"fetch user", check_fetch_user, "useradd --system auracode-fetch"},
    {"webhook user", check_hook_user, "useradd --system auracode-hook"},
    {"egress bundles", check_bundles, "mend the file, or set [egress] bundles"},
    {"policy", check_policy, "mend the file, or set [sandbox] policies"},
    {"disk limits", check_disk,
     "e2fsprogs, loop devices and ext4, or a state directory with ext4 or XFS project quotas"},
    {"base template", check_base, "rootfs/build"},
};

int check_run(FILE *out, const struct config *config, const char *libexec_dir)
{
    static const char *const words[] = {"ok", "warn", "MISSING"};
    int missing = 0;

    for (size_t i = 0; i < ELEMENTS(checks); i++) {
        char detail[256] = "";
        enum verdict verdict = checks[i].run(config, detail, sizeof(detail));
        fprintf(out, "%-8s %-14s %s%s%s\n", words[verdict], checks[i].name, detail,
                verdict == OK ? "" : " -- ", verdict == OK ? "" : checks[i].advice);
        missing |= verdict == MISSING;
    }
    return missing | certificates_print(out, config, libexec_dir);
}
