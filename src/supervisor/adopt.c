/* Theory of operation: at start every sandbox on disk is looked at once. One that ran and whose
 * init still lives (same pid, same start time) is taken over as it is; a transition that the last
 * supervisor did not finish is finished: what was being created has failed, what was being stopped
 * is killed, what was being removed is removed. Groups, links and folders that belong to no sandbox
 * go. */
#include "supervisor/pause.h"
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>

int process_start_time(pid_t pid, uint64_t *ret_ticks)
{
    cleanup_free char *text = NULL;
    char path[64], *save = NULL;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int r = file_read(AT_FDCWD, path, 4096, &text, NULL, NULL);
    char *field = r < 0 ? NULL : strrchr(text, ')'); /* the name may hold anything */
    field = field ? strtok_r(field + 1, " ", &save) : NULL;
    for (int number = 3; field && number < 22; number++)
        field = strtok_r(NULL, " ", &save);
    if (r < 0)
        return r;
    return field ? parse_u64(field, 0, UINT64_MAX, ret_ticks) : -EPROTO;
}

static int open_same_process(struct sandbox *sandbox)
{
    uint64_t ticks = 0;

    if (sandbox->init_pid <= 0)
        return -ESRCH;
    sandbox->pidfd = pidfd_open(sandbox->init_pid, 0);
    if (sandbox->pidfd < 0)
        return -errno;
    struct pollfd ended = {.fd = sandbox->pidfd, .events = POLLIN};
    if (poll(&ended, 1, 0) > 0)
        return -ESRCH; /* nobody has collected it yet */
    int r = process_start_time(sandbox->init_pid, &ticks);
    return r < 0 ? r : ticks == sandbox->init_start_time ? 0 : -ESRCH;
}

static int take_over(struct sandbox *sandbox, struct error *err)
{
    char path[64];

    int r = open_same_process(sandbox);
    if (r < 0)
        return error_sys(err, r, "finding its init");
    snprintf(path, sizeof(path), "/proc/%d/ns/net", sandbox->init_pid);
    sandbox->netns_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (sandbox->netns_fd < 0)
        return error_sys(err, errno, "open `%s`", path);
    struct cgroup_stats stats;
    cgroup_stats(&sandbox->supervisor->cgroups, sandbox->id, &stats);
    sandbox->oom_kills = stats.oom_kills > 0 ? stats.oom_kills : 0;
    cpus_learn(sandbox);
    sandbox->egress.linked = sandbox_egress(sandbox);
    r = sandbox_freeze(sandbox, sandbox->state == SANDBOX_PAUSED, err);
    if (r == 0)
        r = sandbox_watch_exit(sandbox, err);
    return r == 0 ? sandbox_connect_init(sandbox, err) : r;
}

/* Before its group is removed. */
static void explain_loss(struct sandbox *sandbox, const struct error *err)
{
    struct cgroup_stats stats;

    cgroup_stats(&sandbox->supervisor->cgroups, sandbox->id, &stats);
    if (err->err == ESRCH)
        cause_set_lost(&sandbox->cause, "ended while the daemon was away; how is not known",
                       &stats);
    else
        cause_set(&sandbox->cause, CAUSE_LOST, NULL,
                  "killed, since it could not be taken over from an earlier daemon: %s",
                  err->message);
}

static void settle(struct sandbox *sandbox)
{
    struct error err = ERROR_NONE;

    if (sandbox_lives(sandbox) && take_over(sandbox, &err) == 0) {
        log_info("sandbox %s: adopted", sandbox->id);
        return;
    }
    enum sandbox_state state = sandbox->state;
    if (sandbox_lives(sandbox))
        explain_loss(sandbox, &err);
    close_and_forget(&sandbox->pidfd);
    if (sandbox->exit_source)
        sandbox->exit_source = sd_event_source_disable_unref(sandbox->exit_source);
    cgroup_kill(&sandbox->supervisor->cgroups, sandbox->id, NULL);
    if (state == SANDBOX_REMOVING) {
        sandbox->state = SANDBOX_STOPPED;
        sandbox_remove(sandbox, NULL, &err);
    } else if (state == SANDBOX_CREATING) {
        cause_set(&sandbox->cause, CAUSE_START, NULL, "the daemon ended while it was started");
        sandbox_set_state(sandbox, SANDBOX_FAILED);
    } else if (sandbox_lives(sandbox) || state == SANDBOX_STOPPING) {
        sandbox_set_state(sandbox, SANDBOX_STOPPED);
    }
    if (state != SANDBOX_REMOVING)
        cgroup_remove(&sandbox->supervisor->cgroups, sandbox->id, NULL);
}

static void remove_stray_group(void *userdata, const char *id)
{
    struct supervisor *supervisor = userdata;

    if (sandbox_find(supervisor, id))
        return;
    log_warning("cgroup of unknown sandbox %s: removing it", id);
    cgroup_kill(&supervisor->cgroups, id, NULL);
    cgroup_remove(&supervisor->cgroups, id, NULL);
}

void sandboxes_adopt(struct supervisor *supervisor)
{
    int fd = openat(supervisor->sandboxes_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct sandbox *sandbox;

    while (dir && (entry = readdir(dir))) {
        struct error err = ERROR_NONE;
        if (!sandbox_id_valid(entry->d_name))
            continue;
        if (sandbox_load(supervisor, entry->d_name, &sandbox, &err) < 0)
            log_error("sandbox %s is left alone: %s", entry->d_name, err.message);
    }
    for (sandbox = supervisor->sandboxes; sandbox;) {
        struct sandbox *next = sandbox->next;
        settle(sandbox);
        sandbox = next;
    }
    cgroup_each(&supervisor->cgroups, remove_stray_group, supervisor);
    sandbox_empty_trash(supervisor);
}
