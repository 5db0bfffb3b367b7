/* Theory of operation. A process lives in three steps: running; ended (reaped, what its pipes still
 * hold is read, as far as a lossless stream lets us); finished (its end is announced). What other
 * programs print later through inherited pipes still goes to the log until the pipes close. The
 * last finished ones are kept for those who ask how it went, the oldest without open pipes goes
 * first. */
#include "init/process-internal.h"

#include "init/boot.h"
#include "init/conn.h"
#include "init/ring.h"
#include "init/session.h"
#include "init/stream.h"

#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define ENDED_MAX 64u
/* What is read of each process after its end: as much as its pipes can hold, then it is finished
 * even if a child of it goes on writing. */
#define DRAIN_MAX     (2 * 1048576)
#define ARGV_JSON_MAX 1024u

struct processes processes;

struct process *process_find(int64_t id)
{
    struct process *process = processes.first;

    while (process && process->id != id)
        process = process->next;
    return process;
}

struct process *process_next(struct process *process)
{
    return process ? process->next : processes.first;
}

int64_t process_id(const struct process *process)
{
    return process->id;
}

pid_t process_pid(const struct process *process)
{
    return process->pid;
}

bool process_running(const struct process *process)
{
    return !process->ended;
}

struct ring *process_log(const struct process *process)
{
    return process->log;
}

bool process_finished(const struct process *process, int64_t *ret_end)
{
    if (process->finished)
        *ret_end = process->end_offset;
    return process->finished;
}

unsigned int process_live_count(void)
{
    return processes.live;
}

void process_free(struct process *process)
{
    stream_process_gone(process);
    timer_cancel(&process->timeout);
    process_pipes_close(process);
    if (!process->shared_log)
        ring_free(process->log);
    json_decref(process->argv);
    free(process->input_data);
    free(process->name);
    free(process->cwd);
    free(process);
}

static void forget(struct process *process)
{
    if (process->previous)
        process->previous->next = process->next;
    else
        processes.first = process->next;
    if (process->next)
        process->next->previous = process->previous;
    processes.finished--;
    process_free(process);
}

/* The oldest finished one; one whose pipes are still in use only when there are far too many. */
static struct process *oldest_finished(bool with_open_pipes)
{
    struct process *found = NULL;

    for (struct process *process = processes.first; process; process = process->next)
        if (process->finished && (with_open_pipes || !process_pipes_open(process)))
            found = process;
    return found;
}

static void forget_old(void)
{
    while (processes.finished > ENDED_MAX) {
        struct process *process = oldest_finished(false);
        if (!process && processes.finished > ENDED_MAX + (unsigned int)boot.processes_max)
            process = oldest_finished(true);
        if (!process)
            return;
        forget(process);
    }
}

static void on_tidy(struct timer *timer)
{
    struct process *next;

    (void)timer;
    for (struct process *process = processes.first; process; process = next) {
        next = process->next;
        if (process->discard && process->finished && !process_pipes_open(process) &&
            !stream_any(process))
            forget(process);
    }
    forget_old();
}

/* Forgetting happens from the top of the loop only: our callers may be deep inside a process. */
void process_tidy_soon(void)
{
    processes.tidy.handler = on_tidy;
    timer_set(&processes.tidy, 0);
}

/* JSON */

static json_t *argv_to_json(const struct process *process)
{
    json_t *list = json_array(), *argument;
    size_t i, room = ARGV_JSON_MAX;

    json_array_foreach(process->argv, i, argument)
    {
        size_t length = json_string_length(argument);
        if (length + 3 > room)
            break;
        room -= length + 3;
        json_array_append(list, argument);
    }
    return list;
}

json_t *process_to_json(const struct process *process)
{
    bool exited = process->ended && WIFEXITED(process->cause.status);
    bool killed = process->ended && WIFSIGNALED(process->cause.status);
    int64_t duration =
        process->ended ? process->duration_ms : now_monotonic_ms() - process->started_monotonic;
    json_t *object = json_pack(
        "{s:I, s:i, s:s?, s:o, s:s, s:s, s:o, s:s?, s:I, s:I, s:I, s:I, s:I}", "process_id",
        (json_int_t)process->id, "pid", (int)process->pid, "name", process->name, "argv",
        argv_to_json(process), "cwd", process->cwd, "state", process->ended ? "exited" : "running",
        "exit_code", exited ? json_integer(WEXITSTATUS(process->cause.status)) : json_null(),
        "signal", killed ? signal_name(WTERMSIG(process->cause.status)) : NULL, "started_at",
        (json_int_t)process->started_at, "ended_at", (json_int_t)process->ended_at, "duration_ms",
        (json_int_t)duration, "log_first", (json_int_t)ring_first(process->log), "log_next",
        (json_int_t)ring_next(process->log));

    if (object)
        cause_add_to(&process->cause, object);
    return object;
}

const struct cause *process_cause(const struct process *process)
{
    return &process->cause;
}

void process_finish(struct process *process)
{
    process->finished = true;
    process->end_offset = ring_next(process->log);
    processes.live--;
    processes.finished++;
    process_input_close(process);
    conn_broadcast(ROLE_API, json_pack("{s:s, s:o}", "event", "process.exit", "process",
                                       process_to_json(process)));
    stream_process_changed(process);
    if (process->on_exit)
        process->on_exit(process, process->userdata);
    if (processes.live == 0)
        service_processes_changed();
    process_tidy_soon();
}

/* Signals and ends */

int process_signal(struct process *process, int signal, bool group, struct error *err)
{
    if (process->ended)
        return error_set(err, ESRCH, "process %lld has ended", (long long)process->id);
    if (kill(group ? -process->pid : process->pid, signal) < 0)
        return error_sys(err, errno, "signalling process %lld", (long long)process->id);
    cause_requested(&process->cause, signal);
    return 0;
}

static void child_ended(pid_t pid, int status)
{
    struct process *process = processes.first;

    while (process && (process->ended || process->pid != pid))
        process = process->next;
    if (!process)
        return; /* an orphan that was adopted */
    timer_cancel(&process->timeout);
    process->ended = true;
    cause_end(&process->cause, status);
    process->ended_at = now_realtime_ms();
    process->duration_ms = now_monotonic_ms() - process->started_monotonic;
    process->drain_left = DRAIN_MAX;
    process_pipes_drain(process);
}

void process_reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        child_ended(pid, status);
    if (pid < 0 && errno == ECHILD && processes.stopping) {
        timer_cancel(&processes.grace);
        processes.stopped();
    }
}

bool process_any(void)
{
    siginfo_t info;

    /* Whoever lives is our child or a child's: with none of ours, there is nobody. */
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void on_grace_over(struct timer *timer)
{
    (void)timer;
    kill(-1, SIGKILL);
}

/* Everything in the process namespace but the init itself. */
bool process_stopping(void)
{
    return processes.stopping;
}

void process_stop_all(int64_t grace_ms, void (*done)(void))
{
    processes.stopping = true;
    processes.stopped = done;
    processes.grace.handler = on_grace_over;
    for (struct process *process = processes.first; process; process = process->next)
        process->cause.sandbox_stopped = true;
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);
    timer_set(&processes.grace, grace_ms);
    process_reap();
}
