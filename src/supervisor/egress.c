/* Theory of operation. Each request to the helper that changes something is remembered until it is
 * answered. When the helper ends, another is forked, gets the rules of every sandbox that has a
 * link, and then the requests that were not answered, once more: all of them may be repeated.
 * Addresses that the resolver has found are kept with their name, so that new rules can be applied
 * to them. */
#include "supervisor/egress.h"

#include "supervisor/bundles.h"
#include "supervisor/egress-rules.h"
#include "supervisor/fence.h"
#include "supervisor/net-helper.h"
#include "supervisor/nft.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define BACKOFF_MAX_MS      5000
#define ADDRESSES_PACKET    256
#define ADDRESSES_DESCRIBED 100 /* with 256 networks they fit a packet */

/* A request that is not answered yet. */
struct job {
    struct job *next;
    struct egress *egress;
    const char *op;
    char id[SANDBOX_ID_LENGTH + 1];
    json_t *params;
    int fds[2];
    size_t n_fds;
    egress_done_fn done;
    void *userdata;
};

struct egress {
    struct supervisor *supervisor;
    json_t *bundles;
    pid_t pid;
    int pidfd;
    struct rpc rpc;
    sd_event_source *exit_source, *rpc_source, *restart_source;
    int64_t started_ms, backoff_ms;
    bool begun; /* sandboxes were adopted */
    struct job *jobs;
};

static int start_helper(struct egress *egress, struct error *err);

/* ---- requests
 * ------------------------------------------------------------------------------------------------
 */

static void job_free(struct job *job)
{
    for (struct job **link = &job->egress->jobs; *link; link = &(*link)->next)
        if (*link == job) {
            *link = job->next;
            break;
        }
    for (size_t i = 0; i < job->n_fds; i++)
        close(job->fds[i]);
    json_decref(job->params);
    free(job);
}

static void job_cancel(struct job *job)
{
    struct error err = ERROR_NONE;
    egress_done_fn done = job->done;
    void *userdata = job->userdata;

    error_set(&err, ECANCELED, "the sandbox's network was taken away meanwhile");
    job_free(job);
    if (done)
        done(userdata, &err);
}

static void keep_counters(struct job *job, const json_t *result)
{
    struct sandbox *sandbox = sandbox_find(job->egress->supervisor, job->id);
    const json_t *counters = json_object_get(result, "counters");

    for (size_t i = 0; sandbox && counters && i < 4; i++)
        sandbox->egress.counters[i] = json_integer_value(json_array_get(counters, i));
}

static void on_answer(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct job *job = userdata;
    egress_done_fn done = job->done;
    void *its = job->userdata;

    (void)fds;
    if (!result && err->err == ECONNRESET && !job->egress->supervisor->stopping)
        return; /* once more, of the next helper */
    if (result)
        keep_counters(job, result);
    job_free(job);
    if (done)
        done(its, result ? &ERROR_NONE : err);
    else if (!result)
        log_warning("network helper: %s", err->message);
}

static int send_job(struct job *job, struct error *err)
{
    return rpc_call(&job->egress->rpc, job->op, json_incref(job->params), job->fds, job->n_fds,
                    on_answer, job, NULL, err);
}

/* `params` is stolen, and so are the descriptors. */
static int ask(struct egress *egress, const char *op, const char *id, json_t *params,
               const int *fds, size_t n_fds, egress_done_fn done, void *userdata, struct error *err)
{
    struct job *job = calloc(1, sizeof(*job));
    struct job **last = &egress->jobs;

    if (!job || !params) {
        free(job);
        json_decref(params);
        for (size_t i = 0; i < n_fds; i++)
            close(fds[i]);
        return error_oom(err);
    }
    *job = (struct job){.egress = egress,
                        .op = op,
                        .params = params,
                        .n_fds = n_fds,
                        .done = done,
                        .userdata = userdata};
    snprintf(job->id, sizeof(job->id), "%s", id);
    for (size_t i = 0; i < n_fds; i++)
        job->fds[i] = fds[i];
    while (*last)
        last = &(*last)->next;
    *last = job;
    if (egress->rpc.ipc.fd < 0)
        return 0; /* sent when there is a helper */
    int r = send_job(job, err);
    if (r < 0 && r != -EPIPE && r != -ECONNRESET)
        job_free(job);
    else
        r = 0;
    return r;
}

/* ---- what a sandbox is told to the helper as
 * ----------------------------------------------------------------- */

static const json_t *egress_of(const struct sandbox *sandbox)
{
    return json_object_get(sandbox->spec, "egress");
}

static json_t *open_addresses(const struct sandbox *sandbox, const json_t *egress)
{
    cleanup_json json_t *flat = egress_expand(sandbox->supervisor, egress);

    return egress_addresses(flat, sandbox->egress.addresses);
}

static json_t *slice(const json_t *array, size_t from, size_t to)
{
    json_t *part = json_array();

    for (size_t i = from; i < to && i < json_array_size(array); i++)
        json_array_append(part, json_array_get(array, i));
    return part;
}

static json_t *describe(const struct sandbox *sandbox, const json_t *egress)
{
    cleanup_json json_t *open = open_addresses(sandbox, egress);
    cleanup_json json_t *flat = egress_expand(sandbox->supervisor, egress);
    const json_int_t *counters = sandbox->egress.counters;

    return flat ? json_pack("{s:s, s:I, s:o, s:o, s:[I, I, I, I]}", "mode",
                            egress_mode_name(egress), "mark", egress_mark(egress, flat), "networks",
                            egress_networks(flat), "addresses", slice(open, 0, ADDRESSES_DESCRIBED),
                            "counters", counters[0], counters[1], counters[2], counters[3])
                : NULL;
}

/* The addresses that do not fit into the description, as addresses.add takes them. */
static json_t *further_addresses(const struct sandbox *sandbox, const json_t *egress)
{
    cleanup_json json_t *open = open_addresses(sandbox, egress);
    size_t count = json_array_size(open);
    json_t *packets = json_array();

    for (size_t first = ADDRESSES_DESCRIBED; first < count; first += ADDRESSES_PACKET)
        json_array_append_new(packets, json_pack("{s:s, s:o}", "sandbox", sandbox->id, "addresses",
                                                 slice(open, first, first + ADDRESSES_PACKET)));
    return packets;
}

json_t *egress_expand(const struct supervisor *supervisor, const json_t *egress)
{
    return bundles_expand(supervisor->egress->bundles, egress);
}

int egress_check_known(const struct supervisor *supervisor, const json_t *egress, struct error *err)
{
    return bundles_check(supervisor->egress->bundles, egress, err);
}

/* ---- the helper's life
 * --------------------------------------------------------------------------------------- */

static void on_told(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (!result && err->err != ECONNRESET)
        log_error("network helper: %s", err->message);
}

static int tell(struct egress *egress, const char *op, json_t *params, struct error *err)
{
    return rpc_call(&egress->rpc, op, params, NULL, 0, on_told, NULL, NULL, err);
}

/* A link that is still to be made comes with its own rules. */
static bool is_asked_for(const struct egress *egress, const char *id)
{
    for (const struct job *job = egress->jobs; job; job = job->next)
        if (str_equal(job->op, "link.add") && str_equal(job->id, id))
            return true;
    return false;
}

static int tell_sandbox(struct egress *egress, const struct sandbox *sandbox, struct error *err)
{
    cleanup_json json_t *packets = further_addresses(sandbox, egress_of(sandbox));
    size_t i;
    json_t *packet;
    int r = tell(egress, "sandbox.set",
                 json_pack("{s:s, s:o}", "sandbox", sandbox->id, "rules",
                           describe(sandbox, egress_of(sandbox))),
                 err);

    json_array_foreach(packets, i, packet) r =
        r < 0 ? r : tell(egress, "addresses.add", json_incref(packet), err);
    return r;
}

static int tell_all(struct egress *egress, bool adopt, struct error *err)
{
    struct supervisor *supervisor = egress->supervisor;
    int r = 0;

    for (struct sandbox *s = supervisor->sandboxes; r == 0 && s; s = s->next)
        if (s->egress.linked && !is_asked_for(egress, s->id))
            r = tell_sandbox(egress, s, err);
    if (r == 0)
        r = tell(egress, "commit", json_pack("{s:b}", "adopt", adopt), err);
    for (struct job *job = egress->jobs, *next; r == 0 && job; job = next) {
        next = job->next;
        r = send_job(job, err);
    }
    return r;
}

static int on_rpc(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct egress *egress = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    if (rpc_dispatch(&egress->rpc) < 0) {
        egress->rpc_source = sd_event_source_disable_unref(egress->rpc_source);
        rpc_close(&egress->rpc);
        if (egress->pidfd >= 0) /* one that broke the protocol */
            pidfd_send_signal(egress->pidfd, SIGKILL, NULL, 0);
    }
    return 0;
}

static int on_restart_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct egress *egress = userdata;
    struct error err = ERROR_NONE;

    (void)source;
    (void)usec;
    egress->restart_source = sd_event_source_disable_unref(egress->restart_source);
    if (start_helper(egress, &err) < 0)
        log_error("network helper: %s", err.message);
    return 0;
}

static int on_helper_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct egress *egress = userdata;
    siginfo_t info;

    (void)source;
    (void)revents;
    waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    egress->exit_source = sd_event_source_disable_unref(egress->exit_source);
    egress->rpc_source = sd_event_source_disable_unref(egress->rpc_source);
    close_and_forget(&egress->pidfd);
    egress->pid = 0;
    if (egress->rpc.ipc.fd >= 0)
        rpc_close(&egress->rpc);
    if (now_monotonic_ms() - egress->started_ms > 10000)
        egress->backoff_ms = 0;
    log_warning("the network helper ended; starting it again in %lld ms",
                (long long)egress->backoff_ms);
    sd_event_add_time_relative(egress->supervisor->event, &egress->restart_source, CLOCK_MONOTONIC,
                               (uint64_t)egress->backoff_ms * 1000, 0, on_restart_time, egress);
    egress->backoff_ms = egress->backoff_ms ? egress->backoff_ms * 2 : 50;
    if (egress->backoff_ms > BACKOFF_MAX_MS)
        egress->backoff_ms = BACKOFF_MAX_MS;
    return 0;
}

static _Noreturn void run_helper(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 256);

    if (high < 0 || dup2(high, PASSED_FDS_START) < 0)
        _exit(126);
    close_range(PASSED_FDS_START + 1, ~0U, 0);
    net_helper_run(PASSED_FDS_START);
}

static int greet(struct egress *egress, int fd, struct error *err)
{
    const struct subnet *subnet = &egress->supervisor->subnet;

    rpc_init(&egress->rpc, fd, NULL, egress);
    int r = event_add_ipc(egress->supervisor->event, &egress->rpc.ipc, on_rpc, egress,
                          &egress->rpc_source);
    if (r < 0)
        return error_sys(err, r, "watching the network helper");
    r = tell(egress, "hello",
             json_pack("{s:s, s:s, s:i}", "table", subnet->table, "subnet", subnet->address,
                       "prefix", (int)subnet->prefix),
             err);
    return r == 0 && egress->begun ? tell_all(egress, false, err) : r;
}

static int start_helper(struct egress *egress, struct error *err)
{
    int pair[2];

    if (ipc_pair(pair) < 0)
        return error_sys(err, errno, "socketpair");
    egress->pid = fork();
    if (egress->pid == 0)
        run_helper(pair[1]);
    close(pair[1]);
    if (egress->pid < 0) {
        close(pair[0]);
        return error_sys(err, errno, "starting the network helper");
    }
    egress->started_ms = now_monotonic_ms();
    egress->pidfd = pidfd_open(egress->pid, 0);
    if (egress->pidfd < 0 || sd_event_add_io(egress->supervisor->event, &egress->exit_source,
                                             egress->pidfd, EPOLLIN, on_helper_exit, egress) < 0) {
        close(pair[0]);
        return error_sys(err, errno, "watching the network helper");
    }
    return greet(egress, pair[0], err);
}

int egress_open(struct supervisor *supervisor, struct error *err)
{
    struct egress *egress = calloc(1, sizeof(*egress));

    if (!egress)
        return error_oom(err);
    egress->supervisor = supervisor;
    egress->pidfd = egress->rpc.ipc.fd = -1;
    supervisor->egress = egress;
    int r = bundles_load(supervisor->config.egress_bundles, &egress->bundles, err);
    return r == 0 ? start_helper(egress, err) : r;
}

int egress_begin(struct supervisor *supervisor, struct error *err)
{
    supervisor->egress->begun = true;
    return tell_all(supervisor->egress, true, err);
}

void egress_close(struct supervisor *supervisor)
{
    struct egress *egress = supervisor->egress;
    struct error err = ERROR_NONE;

    if (!egress)
        return;
    sd_event_source_disable_unref(egress->exit_source);
    sd_event_source_disable_unref(egress->rpc_source);
    sd_event_source_disable_unref(egress->restart_source);
    if (egress->rpc.ipc.fd >= 0)
        rpc_close(&egress->rpc); /* its end */
    if (egress->pid > 0)
        waitpid(egress->pid, NULL, 0);
    close_and_forget(&egress->pidfd);
    while (egress->jobs)
        job_free(egress->jobs);
    if (nft_table_remove(supervisor->subnet.table, &err) < 0 ||
        fence_remove(supervisor->subnet.base, supervisor->subnet.prefix, &err) < 0)
        log_warning("%s", err.message);
    json_decref(egress->bundles);
    free(egress);
    supervisor->egress = NULL;
}

int egress_reload(struct supervisor *supervisor, struct error *err)
{
    json_t *bundles = NULL;
    int r = bundles_load(supervisor->config.egress_bundles, &bundles, err);

    if (r < 0)
        return r;
    json_decref(supervisor->egress->bundles);
    supervisor->egress->bundles = bundles;
    for (struct sandbox *s = supervisor->sandboxes; s; s = s->next)
        if (s->egress.linked && egress_mode(egress_of(s)) == EGRESS_ALLOW)
            egress_set(s, NULL, NULL, NULL, NULL);
    return 0;
}

pid_t egress_helper_pid(const struct supervisor *supervisor)
{
    return supervisor->egress ? supervisor->egress->pid : 0;
}

/* ---- sandboxes
 * ------------------------------------------------------------------------------------------ */

int egress_attach(struct sandbox *sandbox, const json_t *egress, egress_done_fn done,
                  void *userdata, struct error *err)
{
    struct supervisor *supervisor = sandbox->supervisor;
    struct egress_state *state = &sandbox->egress;
    uint32_t address;

    int r = subnet_slot(&supervisor->subnet, sandbox->id, sandbox->slot, &address, err);
    if (r == 0 && state->resolver_fds[0] < 0)
        r = netns_resolver_sockets(sandbox->netns_fd, state->resolver_fds, err);
    if (r < 0)
        return r;
    cleanup_close int netlink = netns_netlink(sandbox->netns_fd, err);
    if (netlink < 0)
        return netlink;
    cleanup_close int netns = fcntl(sandbox->netns_fd, F_DUPFD_CLOEXEC, 3);
    if (netns < 0)
        return error_sys(err, errno, "dup of a network namespace");
    json_t *rules = describe(sandbox, egress ? egress : egress_of(sandbox));
    int fds[] = {TAKE_FD(netns), TAKE_FD(netlink)};
    state->linked = true;
    r = ask(supervisor->egress, "link.add", sandbox->id,
            json_pack("{s:s, s:I, s:o}", "sandbox", sandbox->id, "address", (json_int_t)address,
                      "rules", rules),
            fds, 2, done, userdata, err);
    if (r < 0)
        state->linked = false;
    return r;
}

int egress_set(struct sandbox *sandbox, const json_t *egress, egress_done_fn done, void *userdata,
               struct error *err)
{
    const json_t *new = egress ? egress : egress_of(sandbox);
    size_t i;
    json_t *packet;
    int r = ask(sandbox->supervisor->egress, "sandbox.set", sandbox->id,
                json_pack("{s:s, s:o}", "sandbox", sandbox->id, "rules", describe(sandbox, new)),
                NULL, 0, done, userdata, err);

    cleanup_json json_t *packets = r == 0 ? further_addresses(sandbox, new) : NULL;
    json_array_foreach(packets, i, packet) r =
        r < 0 ? r
              : ask(sandbox->supervisor->egress, "addresses.add", sandbox->id, json_incref(packet),
                    NULL, 0, NULL, NULL, NULL);
    return r;
}

void egress_detach(struct sandbox *sandbox)
{
    struct egress_state *state = &sandbox->egress;
    struct error err = ERROR_NONE;

    if (!state->linked)
        return;
    state->linked = false;
    for (struct job *job = sandbox->supervisor->egress->jobs, *next; job; job = next) {
        next = job->next; /* those that nobody answered must not come after this one */
        if (str_equal(job->id, sandbox->id) && sandbox->supervisor->egress->rpc.ipc.fd < 0)
            job_cancel(job);
    }
    if (ask(sandbox->supervisor->egress, "link.remove", sandbox->id,
            json_pack("{s:s}", "sandbox", sandbox->id), NULL, 0, NULL, NULL, &err) < 0)
        log_warning("sandbox %s: %s", sandbox->id, err.message);
    egress_clear(state);
}

void egress_clear(struct egress_state *state)
{
    close_and_forget(&state->resolver_fds[0]);
    close_and_forget(&state->resolver_fds[1]);
    json_decref(state->addresses);
    state->addresses = NULL;
}

int egress_read_counters(struct sandbox *sandbox, egress_done_fn done, void *userdata,
                         struct error *err)
{
    return ask(sandbox->supervisor->egress, "counters.get", sandbox->id,
               json_pack("{s:s}", "sandbox", sandbox->id), NULL, 0, done, userdata, err);
}

int egress_grant(struct sandbox *sandbox, const char *name, const json_t *addresses,
                 int64_t seconds, egress_done_fn done, void *userdata, struct error *err)
{
    struct egress_state *state = &sandbox->egress;
    const json_t *egress = egress_of(sandbox);
    cleanup_json json_t *flat = egress_expand(sandbox->supervisor, egress);
    cleanup_json json_t *found = NULL;

    if (egress_mode(egress) != EGRESS_ALLOW || !state->linked)
        return error_set_code(err, EPERM, "refused", "sandbox %s is not in mode allow",
                              sandbox->id);
    if (!state->addresses)
        state->addresses = json_array();
    int r = egress_found(flat, name, addresses, now_monotonic_ms() + seconds * 1000, &found, err);
    if (r == 0)
        r = egress_keep(state->addresses, found, EGRESS_ADDRESSES_MAX, err);
    if (r < 0)
        return r;
    return ask(
        sandbox->supervisor->egress, "addresses.add", sandbox->id,
        json_pack("{s:s, s:o}", "sandbox", sandbox->id, "addresses", egress_addresses(flat, found)),
        NULL, 0, done, userdata, err);
}
