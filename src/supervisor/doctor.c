/* Theory of operation: see doctor.h. A table of checks; those of processes read /proc/PID of each
 * process concerned and report the worst. */
#include "supervisor/doctor.h"

#include "supervisor/capabilities.h"
#include "supervisor/privileges.h"
#include "supervisor/program.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/landlock.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nftables/libnftables.h>
#include <stdarg.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

enum status { ACTIVE, DEGRADED, ABSENT, UNKNOWN };

static const char *const status_names[] = {"active", "degraded", "absent", "unknown"};

struct finding {
    enum status status;
    char detail[320];
};

/* What /proc/PID/status says of a process. */
struct credentials {
    uint64_t uid, effective, permitted, ambient, bounding, no_new_privs, seccomp;
};

static const struct {
    const char *key;
    size_t offset;
    int base;
} status_lines[] = {
    {"\nUid:\t", offsetof(struct credentials, uid), 10},
    {"\nCapEff:\t", offsetof(struct credentials, effective), 16},
    {"\nCapPrm:\t", offsetof(struct credentials, permitted), 16},
    {"\nCapAmb:\t", offsetof(struct credentials, ambient), 16},
    {"\nCapBnd:\t", offsetof(struct credentials, bounding), 16},
    {"\nNoNewPrivs:\t", offsetof(struct credentials, no_new_privs), 10},
    {"\nSeccomp:\t", offsetof(struct credentials, seccomp), 10},
};

static void report(struct finding *finding, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(struct finding *finding, enum status status, const char *format, ...)
{
    va_list arguments;

    finding->status = status;
    va_start(arguments, format);
    vsnprintf(finding->detail, sizeof(finding->detail), format, arguments);
    va_end(arguments);
}

static int read_credentials(pid_t pid, struct credentials *ret)
{
    cleanup_free char *text = NULL;
    char path[48];

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cleanup_file FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    text = calloc(1, 8192);
    if (!file || !text)
        return -ESRCH;
    if (fread(text, 1, 8191, file) == 0)
        return -ESRCH;
    for (size_t i = 0; i < ELEMENTS(status_lines); i++) {
        const char *line = strstr(text, status_lines[i].key);
        if (!line)
            return -EPROTO;
        *(uint64_t *)((char *)ret + status_lines[i].offset) =
            strtoull(line + strlen(status_lines[i].key), NULL, status_lines[i].base);
    }
    return 0;
}

/* ---- the host's programs ----------------------------------------------------------------------
 */

static void check_supervisor(struct supervisor *supervisor, struct finding *finding)
{
    struct credentials own;
    uint64_t excess;

    (void)supervisor;
    if (read_credentials(getpid(), &own) < 0) {
        report(finding, UNKNOWN, "/proc cannot be read");
        return;
    }
    excess = (own.bounding | own.permitted) & ~privileges_kept();
    bool good = !excess && own.no_new_privs && own.seccomp == 2;
    report(finding, good ? ACTIVE : DEGRADED,
           "uid %" PRIu64 ", capabilities %" PRIx64 ", bounding set %" PRIx64
           ", no_new_privs %s, seccomp %s, %sdumpable",
           own.uid, own.effective, own.bounding, own.no_new_privs ? "on" : "OFF",
           own.seccomp == 2 ? "filter" : "OFF", prctl(PR_GET_DUMPABLE) ? "" : "not ");
    if (prctl(PR_GET_DUMPABLE))
        finding->status = DEGRADED;
}

/* "" when the process sees nothing of the host's file system but its own folders. */
static void describe_root(pid_t pid, char *ret_text, size_t size)
{
    static const char *const host_folders[] = {"usr/bin", "etc/passwd", "bin", "home", "root", "var/lib/dpkg"};
    char path[48];
    struct statvfs info;

    snprintf(path, sizeof(path), "/proc/%d/root/", pid);
    cleanup_close int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *ret_text = '\0';
    if (fd < 0 || statvfs(path, &info) < 0)
        snprintf(ret_text, size, "cannot be read");
    else if (!(info.f_flag & ST_RDONLY))
        snprintf(ret_text, size, "WRITABLE");
    for (size_t i = 0; fd >= 0 && i < ELEMENTS(host_folders); i++)
        if (faccessat(fd, host_folders[i], F_OK, 0) == 0)
            snprintf(ret_text, size, "the HOST's (/%s)", host_folders[i]);
}

static void check_program(struct supervisor *supervisor, int i, struct finding *finding)
{
    struct credentials own;
    char root[64];
    pid_t pid = program_pid(supervisor, i);

    if (pid <= 0 || read_credentials(pid, &own) < 0) {
        report(finding, UNKNOWN, "does not run at this moment");
        return;
    }
    describe_root(pid, root, sizeof(root));
    bool caps = own.effective | own.permitted | own.ambient | own.bounding;
    bool good = own.uid != 0 && !caps && own.no_new_privs && own.seccomp == 2 && !*root;
    report(finding,
           good           ? ACTIVE
           : own.uid == 0 ? ABSENT
                          : DEGRADED,
           "pid %d, uid %" PRIu64
           ", capabilities %s, no_new_privs %s, seccomp %s, file system root %s",
           pid, own.uid, caps ? "LEFT" : "none", own.no_new_privs ? "on" : "OFF",
           own.seccomp == 2 ? "filter" : "OFF", *root ? root : "empty, read-only");
}

/* ---- sandboxes --------------------------------------------------------------------------------
 */

typedef bool (*sandbox_test_fn)(struct supervisor *supervisor, const struct sandbox *sandbox,
                                char *ret_fault, size_t size);

/* All of those that run must pass; the first that does not is named. */
static void check_sandboxes(struct supervisor *supervisor, struct finding *finding,
                            sandbox_test_fn test, const char *good)
{
    unsigned int count = 0;
    char fault[160] = "";

    for (const struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next) {
        if (sandbox->state != SANDBOX_RUNNING)
            continue;
        count++;
        if (!test(supervisor, sandbox, fault, sizeof(fault))) {
            report(finding, DEGRADED, "sandbox %s: %s", sandbox->id, fault);
            return;
        }
    }
    if (count == 0)
        report(finding, UNKNOWN, "no sandbox runs to read it from");
    else
        report(finding, ACTIVE, "%s (%u running)", good, count);
}

static bool test_namespaces(struct supervisor *supervisor, const struct sandbox *sandbox,
                            char *ret_fault, size_t size)
{
    static const char *const kinds[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
    struct stat own, other;
    char path[64];

    (void)supervisor;
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
        int r = stat(path, &own);
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", sandbox->init_pid, kinds[i]);
        if (r == 0 && stat(path, &other) == 0 && own.st_ino != other.st_ino)
            continue;
        snprintf(ret_fault, size, "shares the host's %s namespace", kinds[i]);
        return false;
    }
    return true;
}

static bool test_init(struct supervisor *supervisor, const struct sandbox *sandbox, char *ret_fault,
                      size_t size)
{
    struct credentials own;

    (void)supervisor;
    if (read_credentials(sandbox->init_pid, &own) < 0)
        snprintf(ret_fault, size, "its init cannot be read");
    else if (own.uid == 0)
        snprintf(ret_fault, size, "its root is the host's");
    else if (!own.no_new_privs || own.seccomp != 2)
        snprintf(ret_fault, size, "no_new_privs %s, seccomp %s", own.no_new_privs ? "on" : "OFF",
                 own.seccomp == 2 ? "filter" : "OFF");
    else if (own.bounding & ~capabilities_of_init(NULL))
        snprintf(ret_fault, size, "its bounding set is %" PRIx64, own.bounding);
    else
        return true;
    return false;
}

/* What the init said of itself before anything of the sandbox ran. */
static bool test_landlock(struct supervisor *supervisor, const struct sandbox *sandbox,
                          char *ret_fault, size_t size)
{
    (void)supervisor;
    if (sandbox->landlock == 0)
        snprintf(ret_fault, size, "it was started without, by its policy `%s` or its kernel",
                 json_string_value(json_object_get(sandbox->spec, "policy")));
    return sandbox->landlock > 0;
}

static void check_sandbox_landlock(struct supervisor *supervisor, struct finding *finding)
{
    char good[128];

    snprintf(good, sizeof(good), "under the policy's rules for %s",
             landlock_features(landlock_abi()));
    check_sandboxes(supervisor, finding, test_landlock, good);
}

static void check_namespaces(struct supervisor *supervisor, struct finding *finding)
{
    check_sandboxes(supervisor, finding, test_namespaces,
                    "own user, mount, pid, network, ipc, uts and cgroup namespace");
}

static void check_inits(struct supervisor *supervisor, struct finding *finding)
{
    check_sandboxes(supervisor, finding, test_init,
                    "init is no user of the host, at most four capabilities in its own namespace, "
                    "no_new_privs, seccomp filter");
}

/* The file that carries the limit, on each version; the first value is read as well. */
static const struct limit_file {
    const char *name;
    enum controller_kind controller;
    const char *v1, *v2;
    bool required;
} limit_files[] = {
    {"limit memory", CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", true},
    {"limit swap", CGROUP_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap.max", false},
    {"limit cpu", CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", true},
    {"limit pids", CGROUP_PIDS, "pids.max", "pids.max", true},
    {"limit io", CGROUP_IO, NULL, "io.max", false},
};

static bool read_limit(const struct cgroup_tree *tree, const char *id,
                       const struct limit_file *limit, char *ret_value, size_t size)
{
    char path[512];

    if (cgroup_file(tree, limit->controller, id, limit->v1, limit->v2, path, sizeof(path)) < 0)
        return false;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_value, size - 1);
    if (n < 0)
        return false;
    ret_value[n] = '\0';
    ret_value[strcspn(ret_value, "\n")] = '\0';
    return true;
}

static bool is_unlimited(const char *value)
{
    return !*value || str_starts(value, "max") || str_starts(value, "-1") ||
           strlen(value) >= 19; /* v1's largest number of bytes */
}

static void check_limit(struct supervisor *supervisor, const struct limit_file *limit,
                        struct finding *finding)
{
    const struct cgroup_tree *tree = &supervisor->cgroups;
    const struct sandbox *sandbox = supervisor->sandboxes;
    char value[128] = "";

    while (sandbox && sandbox->state != SANDBOX_RUNNING)
        sandbox = sandbox->next;
    const char *version = tree->v2[limit->controller] ? "v2" : "v1";
    if (!tree->mount[limit->controller][0])
        report(finding, ABSENT, "the kernel offers no such controller");
    else if (!sandbox)
        report(finding, UNKNOWN, "cgroup %s; no sandbox runs to read it from", version);
    else if (!read_limit(tree, sandbox->id, limit, value, sizeof(value)))
        report(finding, ABSENT, "cgroup %s has no such file", version);
    else if (is_unlimited(value))
        report(finding, limit->required ? DEGRADED : ABSENT, "cgroup %s: none is set for %s",
               version, sandbox->id);
    else
        report(finding, ACTIVE, "cgroup %s: %s is %s", version, sandbox->id, value);
}

/* Of those that run, by the kernel's figures; the first without a limit is named. */
static void check_disks(struct supervisor *supervisor, struct finding *finding)
{
    struct disk_usage usage = {-1, -1, -1, -1};
    const struct sandbox *last = NULL;

    for (const struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next) {
        if (sandbox->state != SANDBOX_RUNNING)
            continue;
        last = sandbox;
        disk_usage(sandbox, &usage);
        if (usage.limit_bytes > 0 && (usage.inodes_limit > 0 || sandbox->disk == &disk_btrfs))
            continue;
        report(finding, DEGRADED, "new ones: %s; sandbox %s (%s) has NO limit",
               supervisor->disk_text, sandbox->id, sandbox->disk->name);
        return;
    }
    if (last)
        report(finding, ACTIVE, "%s; %s (%s) has %lld bytes, %s%lld inodes", supervisor->disk_text,
               last->id, last->disk->name, (long long)usage.limit_bytes,
               usage.inodes_limit < 0 ? "no limit: " : "", (long long)usage.inodes_limit);
    else
        report(finding, supervisor->disk == &disk_plain ? ABSENT : UNKNOWN,
               "%s; no sandbox runs to read it from", supervisor->disk_text);
}

/* ---- the host ---------------------------------------------------------------------------------
 */

/* The rules of the first running sandbox that the table does not have; NULL: of none. */
static const struct sandbox *sandbox_without_rules(const struct supervisor *supervisor,
                                                   const char *listing, unsigned int *ret_count)
{
    char jump[64];

    *ret_count = 0;
    for (const struct sandbox *s = supervisor->sandboxes; s; s = s->next) {
        if (s->state != SANDBOX_RUNNING || !sandbox_egress(s))
            continue;
        ++*ret_count;
        snprintf(jump, sizeof(jump), "\"ac%s\" : jump s_%s", s->id, s->id);
        if (!listing || !strstr(listing, jump))
            return s;
    }
    return NULL;
}

static void check_egress(struct supervisor *supervisor, struct finding *finding)
{
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
    const char *table = supervisor->subnet.table;
    char command[400];
    unsigned int count;

    snprintf(command, sizeof(command), "list table inet %s", table);
    if (context) {
        nft_ctx_buffer_output(context);
        nft_ctx_buffer_error(context);
    }
    bool found = context && nft_run_cmd_from_buffer(context, command) == 0;
    const struct sandbox *without = sandbox_without_rules(
        supervisor, found ? nft_ctx_get_output_buffer(context) : NULL, &count);
    if (without)
        report(finding, ABSENT, "sandbox %s has a network, but no rules in the table inet %s",
               without->id, table);
    else if (count > 0)
        report(finding, ACTIVE, "nftables table inet %s, with rules for each of %u", table, count);
    else
        report(finding, UNKNOWN, "no running sandbox has a network");
    nft_ctx_free(context);
}

static void check_net_helper(struct supervisor *supervisor, struct finding *finding)
{
    const uint64_t net_admin = UINT64_C(1) << CAP_NET_ADMIN;
    struct credentials own;
    pid_t pid = egress_helper_pid(supervisor);

    if (pid <= 0 || read_credentials(pid, &own) < 0) {
        report(finding, ABSENT, "does not run at this moment: rules stay, but do not change");
        return;
    }
    bool good = !((own.effective | own.permitted | own.bounding) & ~net_admin) &&
                own.no_new_privs && own.seccomp == 2;
    report(finding, good ? ACTIVE : DEGRADED,
           "pid %d, uid %" PRIu64 ", capabilities %" PRIx64 ", no_new_privs %s, seccomp %s", pid,
           own.uid, own.effective, own.no_new_privs ? "on" : "OFF",
           own.seccomp == 2 ? "filter" : "OFF");
}

static void check_landlock(struct supervisor *supervisor, struct finding *finding)
{
    int abi = landlock_abi();

    (void)supervisor;
    if (abi == 0)
        report(finding, ABSENT, "the kernel says: %s", strerror(errno));
    else
        report(finding, ACTIVE, "offered, ABI %d: %s", abi, landlock_features(abi));
}

static void check_lsm(struct supervisor *supervisor, struct finding *finding)
{
    char text[128] = "";
    cleanup_close int fd = open("/sys/kernel/security/lsm", O_RDONLY | O_CLOEXEC);

    (void)supervisor;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        report(finding, UNKNOWN, "/sys/kernel/security/lsm cannot be read");
    else
        report(finding, ACTIVE, "%s", text);
}

static void check_kernel(struct supervisor *supervisor, struct finding *finding)
{
    struct utsname name;
    unsigned int major = 0, minor = 0;

    (void)supervisor;
    uname(&name);
    sscanf(name.release, "%u.%u", &major, &minor);
    report(finding, major > 5 || (major == 5 && minor >= 19) ? ACTIVE : DEGRADED, "Linux %s",
           name.release);
}

static const struct {
    const char *name;
    void (*run)(struct supervisor *supervisor, struct finding *finding);
    const char *advice;
    bool required;
} checks[] = {
    {"kernel", check_kernel, "run Linux 5.19 or newer", true},
    {"auracoded", check_supervisor, "restart auracoded; see its log", true},
    {"sandbox namespaces", check_namespaces, "restart the sandbox", true},
    {"sandbox init", check_inits, "restart the sandbox", true},
    {"sandbox landlock", check_sandbox_landlock,
     "use a policy with a landlock section, and restart the sandbox", false},
    {"limit disk", check_disks,
     "recreate sandboxes that have none; see auracoded --check for new ones", true},
    {"egress filter", check_egress, "restart auracoded, which makes the table anew", true},
    {"network helper", check_net_helper, "see the log of auracoded, which starts it again", true},
    {"landlock in kernel", check_landlock,
     "boot a kernel with CONFIG_SECURITY_LANDLOCK and lsm=landlock,...", false},
    {"security modules", check_lsm, "mount securityfs on /sys/kernel/security", false},
};

static int add(json_t *list, const char *name, const struct finding *finding, const char *advice,
               bool required)
{
    bool todo = finding->status == DEGRADED || finding->status == ABSENT;

    return json_array_append_new(list,
                                 json_pack("{s:s, s:s, s:s, s:s?, s:b}", "name", name, "status",
                                           status_names[finding->status], "detail", finding->detail,
                                           "advice", todo ? advice : NULL, "required", required));
}

json_t *doctor_report(struct supervisor *supervisor)
{
    json_t *list = json_array();
    struct finding finding;

    for (size_t i = 0; list && i < ELEMENTS(checks); i++) {
        checks[i].run(supervisor, &finding);
        add(list, checks[i].name, &finding, checks[i].advice, checks[i].required);
    }
    for (int i = 0; list && i < PROGRAMS; i++) {
        check_program(supervisor, i, &finding);
        add(list, program_name(supervisor, i), &finding, "restart auracoded and this program",
            true);
    }
    for (size_t i = 0; list && i < ELEMENTS(limit_files); i++) {
        check_limit(supervisor, &limit_files[i], &finding);
        add(list, limit_files[i].name, &finding, "enable the controller in the kernel",
            limit_files[i].required);
    }
    return list;
}
