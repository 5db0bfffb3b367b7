/* Theory of operation. A start makes the process object, executes the program (spawn.h) and only
 * then puts it into the table: what could not be executed never was a process. */
#include "init/process-internal.h"

#include "init/boot.h"
#include "init/forbidden.h"
#include "init/ring.h"
#include "init/session.h"
#include "init/spawn.h"
#include "init/stream.h"

#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

void process_expire(struct process *process, int64_t timeout_ms)
{
    process->cause.timed_out = true;
    process->cause.timeout_ms = timeout_ms;
    session_kill(process->pid);
}

static void on_timeout(struct timer *timer)
{
    struct process *process =
        (struct process *)(void *)((char *)timer - offsetof(struct process, timeout));

    process_expire(process, process->cause.timeout_ms);
}

static char **argv_new(json_t *argv)
{
    char **strings = calloc(json_array_size(argv) + 1, sizeof(*strings));
    json_t *argument;
    size_t i;

    if (strings)
        json_array_foreach(argv, i, argument) strings[i] = (char *)json_string_value(argument);
    return strings;
}

static int spawn_process(const struct process_spec *spec, struct process *process,
                         int *ret_listener, struct error *err)
{
    cleanup_free char **argv = argv_new(spec->argv);
    char **environment = argv ? environment_new(spec->as_root, spec->tty, spec->env, err) : NULL;
    struct spawn what = {.argv = argv,
                         .environment = environment,
                         .cwd = process->cwd,
                         .as_root = spec->as_root,
                         .tty = spec->tty,
                         .want_stdin = spec->want_stdin,
                         .rows = spec->rows,
                         .cols = spec->cols};
    struct spawned spawned;

    if (!argv)
        return error_oom(err);
    if (!environment)
        return err && err->err ? -err->err : -ENOMEM;
    cause_begin(&process->cause, spec->timeout_ms);
    int r = spawn(&what, &spawned, err);
    environment_free(environment);
    if (r < 0)
        return r;
    process->pid = spawned.pid;
    *ret_listener = spawned.listener_fd;
    process->input.fd = spawned.input_fd;
    process->outputs[0].watch.fd = spawned.output_fd;
    process->outputs[1].watch.fd = spawned.error_fd;
    return 0;
}

static int check_start(struct error *err)
{
    if (processes.stopping)
        return error_set_code(err, ESHUTDOWN, "stopping", "the sandbox is being stopped");
    if (processes.live >= boot.processes_max)
        return error_set_code(err, EAGAIN, "processes_limit",
                              "%lld processes are running, which is the most there may be",
                              (long long)boot.processes_max);
    return 0;
}

static struct process *process_new(const struct process_spec *spec)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    process_pipes_init(process);
    process->timeout.handler = on_timeout;
    process->name = spec->name ? strdup(spec->name) : NULL;
    process->cwd = strdup(spec->cwd ? spec->cwd : PROJECT_DIR);
    process->argv = json_incref(spec->argv);
    process->tty = spec->tty;
    process->discard = spec->discard;
    process->shared_log = spec->log != NULL;
    process->log = spec->log ? spec->log : ring_new((size_t)boot.log_bytes);
    process->on_exit = spec->on_exit;
    process->userdata = spec->userdata;
    if (process->log && process->cwd && (!spec->name || process->name))
        return process;
    process_free(process);
    return NULL;
}

static void enlist(struct process *process, int64_t timeout_ms)
{
    process->id = ++processes.last_id;
    process->started_at = now_realtime_ms();
    process->started_monotonic = now_monotonic_ms();
    process->next = processes.first;
    if (process->next)
        process->next->previous = process;
    processes.first = process;
    processes.live++;
    if (timeout_ms > 0)
        timer_set(&process->timeout, timeout_ms);
}

int process_start(const struct process_spec *spec, struct process **ret_process, struct error *err)
{
    const struct stream_options stream = {.since = -1,
                                          .follow = true,
                                          .feeds_stdin = spec->want_stdin || spec->tty,
                                          .lossless = true};
    cleanup_close int stream_fd = spec->stream_fd;
    struct process *process = NULL;
    int listener_fd = -1, r = check_start(err);

    if (r >= 0 && !(process = process_new(spec)))
        r = error_oom(err);
    if (r >= 0)
        r = spawn_process(spec, process, &listener_fd, err);
    if (r < 0) {
        if (process)
            process_free(process);
        return r;
    }
    enlist(process, spec->timeout_ms);
    if (listener_fd >= 0 && (r = forbidden_watch(listener_fd, process->id)) < 0)
        error_sys(err, r, "watching the seccomp listener");
    if (r >= 0 && stream_fd >= 0)
        r = stream_attach_process(process, &stream, TAKE_FD(stream_fd), err);
    if (r < 0)
        process_signal(process, SIGKILL, true, NULL);
    process_pipes_watch(process);
    if (processes.live == 1)
        service_processes_changed();
    if (r >= 0)
        *ret_process = process;
    return r;
}
