/* Theory of operation.
 *
 * One clone3 makes the process that becomes the sandbox's init, in all its new namespaces and
 * directly in its v2 leaf. Until its ids are mapped it waits. The supervisor maps them, makes the
 * idmapped mounts, which need the new user namespace and the host's privileges together, keeps the
 * network namespace. When the disk is mounted (disk.h) and the egress link made (egress.h), which
 * others do meanwhile, it sends the mounts. From there the stage (stage.h) goes on alone; it
 * reports through a pipe, so nothing here waits. */
#include "supervisor/sandbox.h"

#include "supervisor/idmap.h"
#include "supervisor/policy.h"
#include "supervisor/stage.h"
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/protocol.h"
#include "base/str.h"

#include "base/event-glue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* What one launch holds; closed as a whole. */
struct launch {
    struct sandbox *sandbox;
    struct stage stage;
    struct cgroup_entry cgroup;
    char *hosts;
};

static void launch_init(struct launch *launch, struct sandbox *sandbox)
{
    *launch = (struct launch){.sandbox = sandbox};
    launch->cgroup = CGROUP_ENTRY_NONE;
    launch->stage = (struct stage){.sync_fd = -1,
                                   .listen_fd = -1,
                                   .boot_fd = -1,
                                   .seccomp_fd = -1,
                                   .status_fd = -1,
                                   .cgroup = &launch->cgroup};
    for (size_t i = 0; i < COUNTER_FILES; i++)
        launch->stage.counter_fds[i] = -1;
}

static void launch_close(struct launch *launch)
{
    int *const fds[] = {&launch->stage.sync_fd, &launch->stage.listen_fd, &launch->stage.boot_fd,
                        &launch->stage.seccomp_fd, &launch->stage.status_fd};

    for (size_t i = 0; i < ELEMENTS(fds); i++)
        close_and_forget(fds[i]);
    for (size_t i = 0; i < COUNTER_FILES; i++)
        close_and_forget(&launch->stage.counter_fds[i]);
    cgroup_entry_close(&launch->cgroup);
    free(launch->hosts);
}

/* Without a network, package managers shall say so at once instead of trying for minutes. */
static const struct {
    const char *name, *value;
} offline_environment[] = {
    {"npm_config_fetch_retries", "0"},
};

static json_t *boot_environment(const struct sandbox *sandbox)
{
    json_t *environment = json_object();

    for (size_t i = 0; !sandbox_egress(sandbox) && i < ELEMENTS(offline_environment); i++)
        json_object_set_new(environment, offline_environment[i].name,
                            json_string(offline_environment[i].value));
    json_object_update(environment, json_object_get(sandbox->spec, "env"));
    return environment;
}

/* What a policy that says nothing of them leaves to project processes. */
static json_t *boot_rlimits(const struct policy *policy)
{
    json_t *rlimits =
        json_pack("{s:i, s:i, s:i}", "nofile", 65536, "nproc", LIMIT_PIDS_MAX, "core", 0);

    if (rlimits && policy->rlimits)
        json_object_update(rlimits, policy->rlimits);
    return rlimits;
}

static json_t *boot_config(const struct sandbox *sandbox, const struct policy *policy)
{
    const char *egress = egress_mode_name(json_object_get(sandbox->spec, "egress"));

    return json_pack("{s:s, s:i, s:s, s:o, s:o, s:s, s:I, s:i, s:O*}", "sandbox", sandbox->id,
                     "generation", (int)sandbox->generation, "hostname", sandbox->id, "env",
                     boot_environment(sandbox), "rlimits", boot_rlimits(policy), "egress", egress,
                     "log_bytes", (json_int_t)sandbox->limits.log, "processes_max", 256, "landlock",
                     policy->landlock);
}

static int make_boot_fd(const struct sandbox *sandbox, const struct policy *policy,
                        struct error *err)
{
    cleanup_json json_t *config = boot_config(sandbox, policy);
    cleanup_free char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;

    return text ? memfd_sealed("auracode-boot", text, strlen(text), err) : error_oom(err);
}

static int prepare_descriptors(struct launch *launch, int *ret_status, struct error *err)
{
    struct sandbox *sandbox = launch->sandbox;
    struct stage *stage = &launch->stage;
    struct supervisor *supervisor = sandbox->supervisor;
    int pair[2], status[2];

    if (ipc_pair(pair) < 0)
        return error_sys(err, errno, "socketpair");
    close_and_forget(&sandbox->sync_fd);
    sandbox->sync_fd = pair[0];
    stage->sync_fd = pair[1];
    if (pipe2(status, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_sys(err, errno, "pipe2");
    *ret_status = status[0];
    stage->status_fd = status[1];
    stage->init_fd = supervisor->init_fd;
    stage->listen_fd = ipc_listen(sandbox->run_dir_fd, "init.sock", 0600, 128, err);
    if (stage->listen_fd < 0)
        return stage->listen_fd;
    int r = policy_find(&supervisor->policies,
                        json_string_value(json_object_get(sandbox->spec, "policy")), &stage->policy,
                        err);
    if (r < 0)
        return r;
    stage->boot_fd = make_boot_fd(sandbox, stage->policy, err);
    if (stage->boot_fd < 0)
        return stage->boot_fd;
    stage->seccomp_fd = policy_open(stage->policy, err);
    return stage->seccomp_fd < 0 ? stage->seccomp_fd : 0;
}

static int prepare_texts(struct launch *launch, struct error *err)
{
    struct sandbox *sandbox = launch->sandbox;
    struct stage *stage = &launch->stage;

    launch->hosts =
        str_format("127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost\n", sandbox->id);
    if (!launch->hosts)
        return error_oom(err);
    stage->resolv_conf = RESOLV_CONF;
    stage->hosts = launch->hosts;
    stage->hostname = sandbox->id;
    stage->n_layers = json_array_size(sandbox->layers);
    struct limits limits = limits_resolved(&sandbox->limits);
    stage->tmp_bytes = (size_t)limits.tmp;
    stage->shm_bytes = (size_t)limits.shm;
    return 0;
}

static uint32_t first_id(const struct sandbox *sandbox)
{
    return (uint32_t)(sandbox->supervisor->config.ids_base + (int64_t)sandbox->slot * IDMAP_RANGE);
}

/* Until it is undone with uid 0, our effective uid is another, with all capabilities. */
static int change_effective_uid(uid_t uid)
{
    int bits = prctl(PR_GET_SECUREBITS);

    if (bits < 0 || prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) < 0)
        return -errno;
    int r = syscall(SYS_setresuid, -1, uid, -1) < 0 ? -errno : 0;
    prctl(PR_SET_SECUREBITS, bits);
    return r;
}

/* What a user namespace uses of what the kernel counts for each user (inotify instances and
 * watches, namespaces: /proc/sys/user) it counts for the one who made the namespace as well. Made
 * by root, all sandboxes would share one account with the host's root: so each is made by its own
 * root. */
static long clone_with_own_account(const struct sandbox *sandbox, struct clone_args *arguments)
{
    int r = change_effective_uid(first_id(sandbox));

    if (r < 0) {
        errno = -r;
        return -1;
    }
    long pid = syscall(SYS_clone3, arguments, sizeof(*arguments));
    int failure = errno;
    if (pid != 0 && change_effective_uid(0) < 0)
        abort(); /* nothing that follows would be right */
    errno = failure;
    return pid;
}

static pid_t clone_stage(struct launch *launch, int *ret_pidfd, struct error *err)
{
    struct clone_args arguments = {
        .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                 CLONE_NEWNET | CLONE_PIDFD | CLONE_INTO_CGROUP,
        .pidfd = (uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)launch->cgroup.leaf_fd,
    };
    long pid = clone_with_own_account(launch->sandbox, &arguments);

    if (pid == 0)
        stage_run(&launch->stage);
    return pid < 0 ? error_sys(err, errno, "clone3 for sandbox %s", launch->sandbox->id)
                   : (pid_t)pid;
}

static int open_namespace(pid_t pid, const char *name, struct error *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_sys(err, errno, "open `%s`", path) : fd;
}

static int make_layers(struct sandbox *sandbox, int userns, int *ret_fds, struct error *err)
{
    char path[160];
    size_t i;
    json_t *layer;

    json_array_foreach(sandbox->layers, i, layer)
    {
        snprintf(path, sizeof(path), "%s/layer", json_string_value(layer));
        ret_fds[i] = idmap_mount(sandbox->supervisor->templates_fd, path, userns,
                                 MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);
        if (ret_fds[i] < 0)
            return ret_fds[i];
    }
    return 0;
}

static int make_mounts(struct sandbox *sandbox, int *ret_fds, struct error *err)
{
    size_t n_layers = json_array_size(sandbox->layers);
    cleanup_close int userns = open_namespace(sandbox->init_pid, "user", err);
    int r = userns < 0 ? userns : make_layers(sandbox, userns, ret_fds, err);

    if (r < 0)
        return r;
    ret_fds[n_layers] = sandbox->disk->mount(sandbox, userns, err);
    return ret_fds[n_layers] < 0 ? ret_fds[n_layers]
                                 : views_open(sandbox, ret_fds + n_layers + 1, err);
}

static int send_mounts(struct sandbox *sandbox, const int *mounts, struct error *err)
{
    struct ipc ipc;
    cleanup_json json_t *go = json_pack("{s:b}", "go", 1);

    ipc_init(&ipc, TAKE_FD(sandbox->sync_fd));
    int r = go ? ipc_send(&ipc, go, mounts, json_array_size(sandbox->layers) + 1 + VIEWS) : -ENOMEM;
    ipc_close(&ipc);
    return r < 0 ? error_sys(err, r, "sending the mounts to sandbox %s", sandbox->id) : 0;
}

int sandbox_send_mounts(struct sandbox *sandbox, struct error *err)
{
    int mounts[STAGE_MOUNTS_MAX];

    for (size_t i = 0; i < ELEMENTS(mounts); i++)
        mounts[i] = -1;
    int r = make_mounts(sandbox, mounts, err);
    if (r == 0)
        r = send_mounts(sandbox, mounts, err);
    for (size_t i = 0; i < ELEMENTS(mounts); i++)
        close_and_forget(&mounts[i]);
    return r;
}

/* Without its init a sandbox ends, so the kernel shall pick another process when memory runs out;
 * when the limit is lowered below what is in use it may pick several. What the init starts counts
 * as usual (init/spawn.c). A host that does not let us protects it less. */
static void spare_init(const struct sandbox *sandbox)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", sandbox->init_pid);
    file_write_existing(AT_FDCWD, path, "-1000", NULL);
}

/* The part that needs the new process. */
static int equip(struct launch *launch, struct error *err)
{
    struct sandbox *sandbox = launch->sandbox;

    process_start_time(sandbox->init_pid, &sandbox->init_start_time);
    spare_init(sandbox);
    int r = idmap_write(sandbox->init_pid, first_id(sandbox), err);
    if (r == 0) {
        sandbox->netns_fd = open_namespace(sandbox->init_pid, "net", err);
        r = sandbox->netns_fd < 0 ? sandbox->netns_fd : 0;
    }
    if (r == 0)
        r = cpus_assign(sandbox, err);
    if (r == 0)
        r = views_write(sandbox, &sandbox->limits, err);
    return r;
}

int sandbox_launch(struct sandbox *sandbox, struct error *err)
{
    struct launch launch;

    launch_init(&launch, sandbox);
    int r = prepare_descriptors(&launch, &sandbox->status_fd, err);
    if (r == 0)
        r = prepare_texts(&launch, err);
    if (r == 0)
        r = cgroup_create(&sandbox->supervisor->cgroups, sandbox->id, sandbox->generation,
                          &sandbox->limits, &launch.cgroup, err);
    if (r == 0)
        r = counters_open(&sandbox->supervisor->cgroups, sandbox->id, launch.stage.counter_fds,
                          err);
    if (r == 0) {
        sandbox->init_pid = clone_stage(&launch, &sandbox->pidfd, err);
        r = sandbox->init_pid < 0 ? sandbox->init_pid : equip(&launch, err);
    }
    launch_close(&launch);
    return r;
}

static int on_init_message(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct sandbox *sandbox = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    if (rpc_dispatch(&sandbox->init) < 0) {
        sandbox->init_source = sd_event_source_disable_unref(sandbox->init_source);
        rpc_close(&sandbox->init);
    }
    return 0;
}

static void on_hello(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct sandbox *sandbox = userdata;

    (void)fds;
    if (!result && sandbox->state == SANDBOX_RUNNING)
        log_warning("sandbox %s: its init refused the supervisor: %s", sandbox->id, err->message);
}

/* What an init says is a hint, and about itself only. */
static void on_init_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct sandbox *sandbox = rpc->userdata;
    json_t *count = json_object_get(event, "count");

    if (str_equal(name, "memory.oom_kills") && json_is_integer(count) &&
        json_integer_value(count) > sandbox->oom_kills)
        sandbox->oom_kills = json_integer_value(count);
}

int sandbox_connect_init(struct sandbox *sandbox, struct error *err)
{
    int fd = ipc_connect(sandbox->run_dir_fd, "init.sock", err);

    if (fd < 0)
        return fd;
    rpc_init(&sandbox->init, fd, on_init_event, sandbox);
    int r = rpc_call(&sandbox->init, "hello", json_pack("{s:s}", "role", "supervisor"), NULL, 0,
                     on_hello, sandbox, NULL, err);
    if (r == 0)
        r = event_add_ipc(sandbox->supervisor->event, &sandbox->init.ipc, on_init_message, sandbox,
                          &sandbox->init_source);
    if (r < 0)
        rpc_close(&sandbox->init);
    return r < 0 ? r : 0;
}
