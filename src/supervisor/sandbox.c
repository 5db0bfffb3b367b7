/* Theory of operation: see sandbox.h. Transitions are events: a request, the stage's report, the
 * end of the init's process, or a deadline. Each new state is saved before it is announced, so that
 * a supervisor killed in between finds at its next start what it has to finish. */
#include "supervisor/sandbox.h"

#include "supervisor/client.h"
#include "supervisor/idle.h"
#include "supervisor/pause.h"
#include "supervisor/template.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_US ((uint64_t)20 * 1000 * 1000)
#define KILL_MARGIN_US   ((uint64_t)1000 * 1000)
#define CGROUP_RETRY_US  ((uint64_t)10 * 1000)

static const char *const state_names[] = {
    [SANDBOX_CREATING] = "creating", [SANDBOX_RUNNING] = "running", [SANDBOX_PAUSED] = "paused",
    [SANDBOX_STOPPING] = "stopping", [SANDBOX_STOPPED] = "stopped", [SANDBOX_FAILED] = "failed",
    [SANDBOX_REMOVING] = "removing",
};

const char *sandbox_state_name(enum sandbox_state state)
{
    return state_names[state];
}

bool sandbox_egress(const struct sandbox *sandbox)
{
    return egress_mode(json_object_get(sandbox->spec, "egress")) != EGRESS_NONE;
}

struct sandbox *sandbox_find(struct supervisor *supervisor, const char *id)
{
    for (struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        if (str_equal(sandbox->id, id))
            return sandbox;
    return NULL;
}

struct sandbox *sandbox_alloc(struct supervisor *supervisor, const char *id)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));

    if (!sandbox)
        return NULL;
    sandbox->supervisor = supervisor;
    memcpy(sandbox->id, id, sizeof(sandbox->id));
    sandbox->state = SANDBOX_STOPPED;
    sandbox->dir_fd = sandbox->run_dir_fd = sandbox->pidfd = sandbox->netns_fd = -1;
    sandbox->disk_fd = sandbox->sync_fd = -1;
    sandbox->disk = supervisor->disk;
    sandbox->status_fd = sandbox->init.ipc.fd = -1;
    sandbox->egress.resolver_fds[0] = sandbox->egress.resolver_fds[1] = -1;
    return sandbox;
}

static void drop_source(sd_event_source **source)
{
    *source = sd_event_source_disable_unref(*source);
}

/* Everything that belongs to one incarnation. */
static void close_incarnation(struct sandbox *sandbox)
{
    drop_source(&sandbox->exit_source);
    drop_source(&sandbox->status_source);
    drop_source(&sandbox->timer_source);
    drop_source(&sandbox->init_source);
    if (sandbox->init.ipc.fd >= 0)
        rpc_close(&sandbox->init);
    close_and_forget(&sandbox->pidfd);
    close_and_forget(&sandbox->netns_fd);
    close_and_forget(&sandbox->disk_fd);
    close_and_forget(&sandbox->sync_fd);
    close_and_forget(&sandbox->status_fd);
    sandbox->init_pid = 0;
    sandbox->status_length = 0;
}

void sandbox_free(struct sandbox *sandbox)
{
    struct supervisor *supervisor = sandbox->supervisor;

    for (struct sandbox **link = &supervisor->sandboxes; *link; link = &(*link)->next)
        if (*link == sandbox) {
            *link = sandbox->next;
            supervisor->slots[sandbox->slot] = 0;
            break;
        }
    close_incarnation(sandbox);
    egress_clear(&sandbox->egress);
    close_and_forget(&sandbox->dir_fd);
    close_and_forget(&sandbox->run_dir_fd);
    cause_clear(&sandbox->cause);
    json_decref(sandbox->spec);
    json_decref(sandbox->layers);
    free(sandbox);
}

static bool is_lasting(enum sandbox_state state)
{
    return state == SANDBOX_RUNNING || state == SANDBOX_PAUSED || state == SANDBOX_STOPPED ||
           state == SANDBOX_FAILED;
}

static void answer_waiter(struct sandbox *sandbox, struct request *request)
{
    struct error err = ERROR_NONE;

    if (sandbox->state == SANDBOX_FAILED) {
        error_set_code(&err, EIO, "sandbox_failed", "sandbox %s: %s", sandbox->id,
                       sandbox->cause.text);
        request_fail(request, &err);
    } else if (sandbox->state == SANDBOX_REMOVING) {
        error_set_code(&err, ENOENT, "sandbox_not_found", "sandbox %s was removed", sandbox->id);
        request_fail(request, &err);
    } else {
        request_reply(request, json_pack("{s:o}", "sandbox", sandbox_to_json(sandbox, false)), NULL,
                      0);
    }
}

static void answer_waiters(struct sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->n_waiters; i++)
        answer_waiter(sandbox, sandbox->waiters[i]);
    sandbox->n_waiters = 0;
}

void sandbox_set_state(struct sandbox *sandbox, enum sandbox_state state)
{
    struct error err = ERROR_NONE;

    sandbox->state = state;
    if (sandbox_save_state(sandbox, &err) < 0)
        log_error("sandbox %s: %s", sandbox->id, err.message);
    log_info("sandbox %s: %s%s%s", sandbox->id, sandbox_state_name(state),
             sandbox->cause.word ? ": " : "", sandbox->cause.text);
    clients_announce(sandbox->supervisor, sandbox_to_json(sandbox, false),
                     sandbox_to_json(sandbox, true));
    if (is_lasting(state))
        answer_waiters(sandbox);
}

int sandbox_wait(struct sandbox *sandbox, struct request *request, struct error *err)
{
    if (is_lasting(sandbox->state)) {
        answer_waiter(sandbox, request);
        return 0;
    }
    if (sandbox->n_waiters == ELEMENTS(sandbox->waiters))
        return error_set(err, EBUSY, "too many requests wait for sandbox %s", sandbox->id);
    sandbox->waiters[sandbox->n_waiters++] = request;
    return 0;
}

static int take_slot(struct supervisor *supervisor, unsigned int *ret_slot, struct error *err)
{
    for (unsigned int slot = 0; slot < supervisor->config.ids_count; slot++)
        if (!supervisor->slots[slot]) {
            supervisor->slots[slot] = 1;
            *ret_slot = slot;
            return 0;
        }
    return error_set_code(err, EAGAIN, "too_many_sandboxes",
                          "all %lld id ranges are in use ([ids] count)",
                          (long long)supervisor->config.ids_count);
}

/* Where the request is silent its policy speaks, and where that is, the configuration. */
static json_t *choose_egress(const struct supervisor *supervisor, const struct sandbox_spec *spec,
                             const struct policy *policy)
{
    const struct config *config = &supervisor->config;
    json_t *egress = NULL;

    if (spec->egress && !json_is_null(spec->egress))
        return json_incref(spec->egress);
    if (policy->egress)
        return json_incref(policy->egress);
    egress_from_text(config->sandbox_egress, config->sandbox_allow, &egress, NULL);
    return egress;
}

static json_t *spec_to_json(const struct supervisor *supervisor, const struct sandbox_spec *spec,
                            const struct policy *policy)
{
    const char *access = spec->access ? spec->access : supervisor->config.sandbox_access;

    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:s}", "template", spec->template, "name",
                     spec->name ? spec->name : "", "owner", spec->owner ? spec->owner : "",
                     "egress", choose_egress(supervisor, spec, policy), "policy", policy->name,
                     "env", spec->env ? json_incref(spec->env) : json_object(), "labels",
                     spec->labels ? json_incref(spec->labels) : json_object(), "access", access);
}

int sandbox_new(struct supervisor *supervisor, const struct sandbox_spec *spec,
                const struct policy *policy, const struct limits *limits,
                struct sandbox **ret_sandbox, struct error *err)
{
    char id[SANDBOX_ID_LENGTH + 1];
    cleanup_json json_t *layers = NULL;

    int r = template_layers(supervisor, spec->template, &layers, err);
    if (r < 0)
        return r;
    if (sandbox_id_new(id) < 0)
        return error_set(err, EIO, "no randomness for a sandbox id");
    struct sandbox *sandbox = sandbox_alloc(supervisor, id);
    if (!sandbox)
        return error_oom(err);
    r = take_slot(supervisor, &sandbox->slot, err);
    if (r < 0) {
        sandbox_free(sandbox);
        return r;
    }
    sandbox->next = supervisor->sandboxes;
    supervisor->sandboxes = sandbox;
    sandbox->limits = *limits;
    sandbox->created_at = now_realtime_ms();
    sandbox->layers = TAKE_PTR(layers);
    sandbox->spec = spec_to_json(supervisor, spec, policy);
    r = sandbox->spec
            ? egress_check_known(supervisor, json_object_get(sandbox->spec, "egress"), err)
            : error_oom(err);
    if (r == 0)
        r = sandbox_open_folders(sandbox, true, err);
    if (r == 0)
        r = sandbox_save_config(sandbox, err);
    if (r < 0) {
        sandbox_discard_files(sandbox);
        sandbox_free(sandbox);
        return r;
    }
    *ret_sandbox = sandbox;
    return 0;
}

static int set_timer(struct sandbox *sandbox, uint64_t delay_us, sd_event_time_handler_t handler)
{
    drop_source(&sandbox->timer_source);
    return sd_event_add_time_relative(sandbox->supervisor->event, &sandbox->timer_source,
                                      CLOCK_MONOTONIC, delay_us, 0, handler, sandbox);
}

static void kill_now(struct sandbox *sandbox)
{
    struct error err = ERROR_NONE;

    if (sandbox->pidfd >= 0)
        pidfd_send_signal(sandbox->pidfd, SIGKILL, NULL, 0);
    if (cgroup_kill(&sandbox->supervisor->cgroups, sandbox->id, &err) < 0)
        log_warning("sandbox %s: %s", sandbox->id, err.message);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sandbox *sandbox = userdata;

    (void)source;
    (void)usec;
    if (sandbox->state == SANDBOX_CREATING)
        cause_set(&sandbox->cause, CAUSE_TIMEOUT, NULL, "did not start within %d s",
                  (int)(START_TIMEOUT_US / 1000000));
    kill_now(sandbox);
    return 0;
}

static void report_stage_failure(struct sandbox *sandbox)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *report = json_loads(sandbox->status_text, 0, NULL);

    if (error_from_json(&err, json_object_get(report, "error")) != 0 && err.err != EPROTO)
        cause_set_start_error(&sandbox->cause, &err);
}

/* The init's first line: {"ready":true,"landlock":ABI}. Nothing of the sandbox has run before it.
 */
static bool read_ready(struct sandbox *sandbox)
{
    if (!str_starts(sandbox->status_text, "{\"ready\":true") || !strchr(sandbox->status_text, '\n'))
        return false;
    cleanup_json json_t *status = json_loads(sandbox->status_text, 0, NULL);
    sandbox->landlock = (int)json_integer_value(json_object_get(status, "landlock"));
    return status != NULL;
}

static int on_status(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct sandbox *sandbox = userdata;
    struct error err = ERROR_NONE;
    size_t room = sizeof(sandbox->status_text) - 1 - sandbox->status_length;

    (void)source;
    (void)revents;
    ssize_t n = room ? read(fd, sandbox->status_text + sandbox->status_length, room) : 0;
    if (n > 0) {
        sandbox->status_length += (size_t)n;
        sandbox->status_text[sandbox->status_length] = '\0';
    }
    if (n < 0 && errno == EAGAIN)
        return 0;
    bool ready = read_ready(sandbox);
    if (n > 0 && !ready)
        return 0;
    drop_source(&sandbox->status_source);
    close_and_forget(&sandbox->status_fd);
    if (ready && sandbox_connect_init(sandbox, &err) == 0) {
        drop_source(&sandbox->timer_source);
        sandbox->started_at = now_realtime_ms();
        idle_used(sandbox);
        sandbox_set_state(sandbox, SANDBOX_RUNNING);
        if (sandbox->supervisor->stopping) /* it was asked for before the signal came */
            sandbox_stop(sandbox, 0, &err);
        return 0;
    }
    if (ready)
        cause_set_start_error(&sandbox->cause, &err);
    else
        report_stage_failure(sandbox);
    kill_now(sandbox);
    return 0;
}

static void finish_end(struct sandbox *sandbox);

/* A launch that failed half way: with a process to wait for, the end of that finishes it and tells
 * the waiters. */
static int abandon_start(struct sandbox *sandbox, const struct error *err)
{
    cause_set_start_error(&sandbox->cause, err);
    if (sandbox->pidfd < 0 || (!sandbox->exit_source && sandbox_watch_exit(sandbox, NULL) < 0))
        finish_end(sandbox);
    else
        kill_now(sandbox);
    return 0;
}

static int launch(struct sandbox *sandbox, struct error *err)
{
    int r = sandbox_launch(sandbox, err);

    if (r == 0)
        r = sandbox_watch_exit(sandbox, err);
    if (r == 0 && sd_event_add_io(sandbox->supervisor->event, &sandbox->status_source,
                                  sandbox->status_fd, EPOLLIN, on_status, sandbox) < 0)
        r = error_oom(err);
    return r;
}

/* What a launched sandbox waits for before it gets its mounts and goes on: */
#define WAITS_DISK (1u << 0)
#define WAITS_LINK (1u << 1)

/* Meanwhile it may have been killed; then its end, which is still to come, tells. */
static void arrived(struct sandbox *sandbox, unsigned int what, const struct error *failure)
{
    struct error err = *failure;

    bool wanted = sandbox->state == SANDBOX_CREATING && !sandbox->cause.word;
    sandbox->waits &= ~what;
    if (!wanted || err.err || !sandbox->waits) {
        if (wanted && (err.err || sandbox_send_mounts(sandbox, &err) < 0))
            abandon_start(sandbox, &err);
        close_and_forget(&sandbox->disk_fd); /* it would keep the disk in use */
    }
}

static void on_disk_ready(struct sandbox *sandbox, const struct error *failure)
{
    arrived(sandbox, WAITS_DISK, failure);
}

struct start_of_link {
    struct supervisor *supervisor;
    char id[SANDBOX_ID_LENGTH + 1];
    unsigned int generation;
};

static void on_link_ready(void *userdata, const struct error *failure)
{
    cleanup_free struct start_of_link *start = userdata;
    struct sandbox *sandbox = sandbox_find(start->supervisor, start->id);

    if (sandbox && sandbox->generation == start->generation)
        arrived(sandbox, WAITS_LINK, failure);
}

static int begin_link(struct sandbox *sandbox, struct error *err)
{
    struct start_of_link *start = calloc(1, sizeof(*start));

    if (!start)
        return error_oom(err);
    *start = (struct start_of_link){.supervisor = sandbox->supervisor,
                                    .generation = sandbox->generation};
    memcpy(start->id, sandbox->id, sizeof(start->id));
    sandbox->waits |= WAITS_LINK;
    int r = egress_attach(sandbox, NULL, on_link_ready, start, err);
    if (r < 0)
        free(start);
    return r;
}

int sandbox_start(struct sandbox *sandbox, struct error *err)
{
    if (sandbox->state != SANDBOX_STOPPED && sandbox->state != SANDBOX_FAILED)
        return error_set_code(err, EBUSY, "wrong_state", "sandbox %s is %s", sandbox->id,
                              sandbox_state_name(sandbox->state));
    sandbox->generation++;
    sandbox->oom_kills = 0;
    sandbox->disk_closed = false;
    memset(sandbox->egress.counters, 0, sizeof(sandbox->egress.counters));
    sandbox->egress.queries = sandbox->egress.refusals = 0;
    cause_clear(&sandbox->cause);
    sandbox_set_state(sandbox, SANDBOX_CREATING);
    int r = disk_check_host(sandbox->supervisor, err);
    if (r == 0 && set_timer(sandbox, START_TIMEOUT_US, on_deadline) < 0)
        r = error_oom(err);
    if (r == 0 && sandbox->disk->prepare)
        r = sandbox->disk->prepare(sandbox, on_disk_ready, err);
    sandbox->waits = r > 0 ? WAITS_DISK : 0;
    r = r < 0 ? r : launch(sandbox, err);
    if (r == 0 && sandbox_egress(sandbox))
        r = begin_link(sandbox, err);
    if (r == 0 && !sandbox->waits)
        r = sandbox_send_mounts(sandbox, err);
    return r < 0 ? abandon_start(sandbox, err) : 0;
}

static void ignore_reply(void *userdata, json_t *result, struct ipc_fds *fds,
                         const struct error *err)
{
    (void)userdata;
    (void)result;
    (void)fds;
    (void)err;
}

int sandbox_stop(struct sandbox *sandbox, int64_t grace_ms, struct error *err)
{
    if (!sandbox_lives(sandbox))
        return error_set_code(err, EBUSY, "wrong_state", "sandbox %s is %s", sandbox->id,
                              sandbox_state_name(sandbox->state));
    if (sandbox->state == SANDBOX_PAUSED && sandbox_freeze(sandbox, false, err) < 0)
        log_warning("sandbox %s: %s", sandbox->id, err->message); /* the deadline kills it */
    if (sandbox->supervisor->stopping)
        cause_set(&sandbox->cause, CAUSE_SHUTDOWN, NULL, "stopped as the daemon was stopped");
    else
        cause_set(&sandbox->cause, CAUSE_REQUEST, NULL, "stopped on request");
    sandbox_set_state(sandbox, SANDBOX_STOPPING);
    int r =
        rpc_call(&sandbox->init, "shutdown", json_pack("{s:I}", "grace_ms", (json_int_t)grace_ms),
                 NULL, 0, ignore_reply, NULL, NULL, err);
    if (r < 0) {
        log_warning("sandbox %s: asking it to stop: %s", sandbox->id, err->message);
        kill_now(sandbox);
    }
    return set_timer(sandbox, (uint64_t)grace_ms * 1000 + KILL_MARGIN_US, on_deadline);
}

static void finish_removal(struct sandbox *sandbox)
{
    struct supervisor *supervisor = sandbox->supervisor;

    clients_announce(supervisor, json_pack("{s:s, s:s}", "id", sandbox->id, "state", "removed"),
                     json_pack("{s:s, s:s}", "id", sandbox->id, "state", "removed"));
    for (size_t i = 0; i < sandbox->n_waiters; i++)
        request_reply(sandbox->waiters[i], NULL, NULL, 0);
    sandbox->n_waiters = 0;
    log_info("sandbox %s: removed", sandbox->id);
    sandbox_discard_files(sandbox);
    sandbox_free(sandbox);
    supervisor_check_stopped(supervisor);
}

/* The last process is gone; v1 groups may still count it for a moment. */
static int on_cgroup_retry(sd_event_source *source, uint64_t usec, void *userdata);

static void finish_end(struct sandbox *sandbox)
{
    struct supervisor *supervisor = sandbox->supervisor;
    struct error err = ERROR_NONE;
    bool failed = sandbox->state == SANDBOX_CREATING;

    int r = cgroup_remove(&supervisor->cgroups, sandbox->id, &err);
    if (r == -EBUSY && set_timer(sandbox, CGROUP_RETRY_US, on_cgroup_retry) >= 0)
        return;
    if (r < 0)
        log_warning("sandbox %s: %s", sandbox->id, err.message);
    egress_detach(sandbox);
    close_incarnation(sandbox);
    if (sandbox->state == SANDBOX_REMOVING) {
        finish_removal(sandbox);
        return;
    }
    sandbox_set_state(sandbox, failed ? SANDBOX_FAILED : SANDBOX_STOPPED);
    supervisor_check_stopped(supervisor);
}

static int on_cgroup_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    finish_end(userdata);
    return 0;
}

/* `info`: NULL when not known. Before its group is removed. */
static void explain_end(struct sandbox *sandbox, const siginfo_t *info)
{
    struct cgroup_stats stats;

    cgroup_stats(&sandbox->supervisor->cgroups, sandbox->id, &stats);
    if (info)
        cause_set_init_end(&sandbox->cause, info->si_code, info->si_status, sandbox->oom_kills,
                           &stats);
    else
        cause_set_lost(&sandbox->cause,
                       "its first process ended; how is not known, since an earlier daemon started "
                       "it",
                       &stats);
}

static int on_init_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct sandbox *sandbox = userdata;
    siginfo_t info = {0};

    (void)source;
    (void)revents;
    /* Not our child after an adoption. */
    bool known = waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid > 0;
    drop_source(&sandbox->exit_source);
    if (sandbox->status_fd >= 0) { /* its last words */
        ssize_t n = read(sandbox->status_fd, sandbox->status_text + sandbox->status_length,
                         sizeof(sandbox->status_text) - 1 - sandbox->status_length);
        if (n > 0)
            sandbox->status_text[sandbox->status_length + (size_t)n] = '\0';
        if (n > 0 || sandbox->status_length > 0)
            report_stage_failure(sandbox);
    }
    if (!sandbox->cause.word)
        explain_end(sandbox, known ? &info : NULL);
    kill_now(sandbox);
    finish_end(sandbox);
    return 0;
}

int sandbox_watch_exit(struct sandbox *sandbox, struct error *err)
{
    int r = sd_event_add_io(sandbox->supervisor->event, &sandbox->exit_source, sandbox->pidfd,
                            EPOLLIN, on_init_exit, sandbox);

    return r < 0 ? error_sys(err, r, "watching the init of sandbox %s", sandbox->id) : 0;
}

int sandbox_remove(struct sandbox *sandbox, struct request *request, struct error *err)
{
    if (sandbox->state == SANDBOX_REMOVING)
        return error_set_code(err, ENOENT, "sandbox_not_found", "sandbox %s is being removed",
                              sandbox->id);
    bool alive = sandbox->exit_source != NULL || sandbox->timer_source != NULL;
    cause_clear(&sandbox->cause);
    sandbox_set_state(sandbox, SANDBOX_REMOVING);
    answer_waiters(sandbox);
    if (request)
        sandbox->waiters[sandbox->n_waiters++] = request;
    if (alive)
        kill_now(sandbox);
    else
        finish_end(sandbox);
    return 0;
}
