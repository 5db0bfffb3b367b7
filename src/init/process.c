/* Theory of operation. A process lives in three steps: running; ended (reaped, what its pipes still
 * hold is read, as far as a lossless stream lets us); finished (its end is announced). What other
 * programs print later through inherited pipes still goes to the log until the pipes close. The
 * last finished ones are kept for those who ask how it went, the oldest without open pipes goes
 * first. */
#include "init/process-io.h"

#include "init/boot.h"
#include "init/conn.h"
#include "init/ring.h"
#include "init/session.h"
#include "init/spawn.h"
#include "init/stream.h"

#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#define ENDED_MAX 64u
/* What is read of each process after its end: as much as its pipes can hold, then it is finished
 * even if a child of it goes on writing. */
#define DRAIN_MAX     (2 * 1048576)
#define ARGV_JSON_MAX 1024u

struct output {
    struct watch watch;
    struct process *process;
    unsigned int channel;
};

struct process {
    struct process *next, *previous; /* newest first */
    int64_t id;
    pid_t pid;
    char *name, *cwd;
    json_t *argv;
    bool tty, discard, shared_log;
    struct ring *log;
    struct output outputs[2];
    struct watch input;
    unsigned char *input_data; /* one packet that the program has not taken yet */
    size_t input_length, input_done;
    bool input_end;
    struct timer timeout;
    int64_t started_at, started_monotonic, ended_at, duration_ms;
    bool ended, finished, timed_out, requested;
    int status; /* of waitpid */
    int64_t drain_left, end_offset;
    void (*on_exit)(struct process *process, void *userdata);
    void *userdata;
};

static struct {
    struct process *first;
    int64_t last_id;
    unsigned int live, finished;
    bool stopping;
    struct timer grace, tidy;
    void (*stopped)(void);
} all;

struct process *process_find(int64_t id)
{
    struct process *process = all.first;

    while (process && process->id != id)
        process = process->next;
    return process;
}

struct process *process_next(struct process *process)
{
    return process ? process->next : all.first;
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
    return all.live;
}

static void close_watch(struct watch *watch)
{
    loop_unwatch(watch);
    close_and_forget(&watch->fd);
}

static bool outputs_open(const struct process *process)
{
    return process->outputs[0].watch.fd >= 0 || process->outputs[1].watch.fd >= 0;
}

static void process_free(struct process *process)
{
    stream_process_gone(process);
    timer_cancel(&process->timeout);
    for (size_t i = 0; i < ELEMENTS(process->outputs); i++)
        close_watch(&process->outputs[i].watch);
    close_watch(&process->input);
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
        all.first = process->next;
    if (process->next)
        process->next->previous = process->previous;
    all.finished--;
    process_free(process);
}

/* The oldest finished one; one whose pipes are still in use only when there are far too many. */
static struct process *oldest_finished(bool with_open_pipes)
{
    struct process *found = NULL;

    for (struct process *process = all.first; process; process = process->next)
        if (process->finished && (with_open_pipes || !outputs_open(process)))
            found = process;
    return found;
}

static void forget_old(void)
{
    while (all.finished > ENDED_MAX) {
        struct process *process = oldest_finished(false);
        if (!process && all.finished > ENDED_MAX + (unsigned int)boot.processes_max)
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
    for (struct process *process = all.first; process; process = next) {
        next = process->next;
        if (process->discard && process->finished && !outputs_open(process) && !stream_any(process))
            forget(process);
    }
    forget_old();
}

/* Forgetting happens from the top of the loop only: our callers may be deep inside a process. */
static void tidy_soon(void)
{
    all.tidy.handler = on_tidy;
    timer_set(&all.tidy, 0);
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

static const char *cause(const struct process *process)
{
    if (!process->ended)
        return NULL;
    if (process->timed_out)
        return "timeout";
    if (!WIFSIGNALED(process->status))
        return "exited";
    return process->requested ? "request" : "signal";
}

json_t *process_to_json(const struct process *process)
{
    bool exited = process->ended && WIFEXITED(process->status);
    bool killed = process->ended && WIFSIGNALED(process->status);
    int64_t duration =
        process->ended ? process->duration_ms : now_monotonic_ms() - process->started_monotonic;

    return json_pack(
        "{s:I, s:i, s:s?, s:o, s:s, s:s, s:o, s:s?, s:s?, s:I, s:I, s:I, s:I, s:I}", "process_id",
        (json_int_t)process->id, "pid", (int)process->pid, "name", process->name, "argv",
        argv_to_json(process), "cwd", process->cwd, "state", process->ended ? "exited" : "running",
        "exit_code", exited ? json_integer(WEXITSTATUS(process->status)) : json_null(), "signal",
        killed ? signal_name(WTERMSIG(process->status)) : NULL, "cause", cause(process),
        "started_at", (json_int_t)process->started_at, "ended_at", (json_int_t)process->ended_at,
        "duration_ms", (json_int_t)duration, "log_first", (json_int_t)ring_first(process->log),
        "log_next", (json_int_t)ring_next(process->log));
}

void process_describe_end(const struct process *process, char *ret_text, size_t size)
{
    const char *late = process->timed_out ? " after its time limit" : "";
    const char *name = signal_name(WTERMSIG(process->status));

    if (!process->ended)
        snprintf(ret_text, size, "is running");
    else if (WIFEXITED(process->status))
        snprintf(ret_text, size, "exited with code %d%s", WEXITSTATUS(process->status), late);
    else if (name)
        snprintf(ret_text, size, "killed by %s%s", name, late);
    else
        snprintf(ret_text, size, "killed by signal %d%s", WTERMSIG(process->status), late);
}

/* Output */

/* Bytes read into the log; 0: nothing now; -ENODATA: the end. */
static ssize_t read_output(struct output *output)
{
    static unsigned char chunk[STREAM_CHUNK_MAX];
    ssize_t n;

    do
        n = read(output->watch.fd, chunk, sizeof(chunk));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0) { /* EIO: nobody has the terminal open any more */
        close_watch(&output->watch);
        return -ENODATA;
    }
    ring_append(output->process->log, output->channel, chunk, (size_t)n);
    return n;
}

static void watch_outputs(struct process *process)
{
    bool held = stream_holds(process);

    for (size_t i = 0; i < ELEMENTS(process->outputs); i++) {
        struct watch *watch = &process->outputs[i].watch;
        if (watch->fd >= 0 && held)
            loop_unwatch(watch);
        else if (watch->fd >= 0 && !watch->added)
            loop_watch(watch, EPOLLIN);
    }
}

static void finish(struct process *process)
{
    process->finished = true;
    process->end_offset = ring_next(process->log);
    all.live--;
    all.finished++;
    close_watch(&process->input);
    conn_broadcast(ROLE_API, json_pack("{s:s, s:o}", "event", "process.exit", "process",
                                       process_to_json(process)));
    stream_process_changed(process);
    if (process->on_exit)
        process->on_exit(process, process->userdata);
    if (all.live == 0)
        service_processes_changed();
    tidy_soon();
}

/* Takes what the pipes of an ended process still hold. */
static void drain(struct process *process)
{
    if (!process->ended || process->finished)
        return;
    for (size_t i = 0; i < ELEMENTS(process->outputs); i++) {
        ssize_t n = 1;
        while (process->outputs[i].watch.fd >= 0 && n > 0 && process->drain_left > 0) {
            if (stream_holds(process))
                return; /* the stream's progress brings us back */
            n = read_output(&process->outputs[i]);
            process->drain_left -= n > 0 ? n : 0;
        }
    }
    finish(process);
}

static void on_output(struct watch *watch, uint32_t events)
{
    struct output *output = (struct output *)watch;
    struct process *process = output->process;

    (void)events;
    ssize_t n = read_output(output);
    watch_outputs(process);
    if (n < 0)
        tidy_soon();
}

void process_stream_changed(struct process *process)
{
    watch_outputs(process);
    drain(process);
}

void process_stream_gone(struct process *process)
{
    process_stream_changed(process);
    tidy_soon();
}

/* Input */

static void write_input(struct process *process)
{
    while (process->input_done < process->input_length) {
        ssize_t n = write(process->input.fd, process->input_data + process->input_done,
                          process->input_length - process->input_done);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno != EINTR) {
            close_watch(&process->input);
            process->input_done = process->input_length;
        } else if (n > 0) {
            process->input_done += (size_t)n;
        }
    }
    process->input_length = process->input_done = 0;
    if (process->input_end && !process->tty)
        close_watch(&process->input);
}

static void on_input(struct watch *watch, uint32_t events)
{
    struct process *process =
        (struct process *)(void *)((char *)watch - offsetof(struct process, input));

    (void)events;
    write_input(process);
    if (process_input_full(process))
        return;
    loop_unwatch(watch);
    stream_process_changed(process);
    process_stream_changed(process); /* a stream may have caught up on the way */
}

bool process_input_full(const struct process *process)
{
    return process->input.fd >= 0 && process->input_length > 0;
}

void process_input(struct process *process, const void *data, size_t length)
{
    if (process->input.fd < 0 || process->input_end || length > STREAM_CHUNK_MAX)
        return;
    if (!process->input_data)
        process->input_data = malloc(STREAM_CHUNK_MAX);
    if (!process->input_data)
        return;
    memcpy(process->input_data, data, length);
    process->input_length = length;
    process->input_done = 0;
    write_input(process);
    if (process_input_full(process) && loop_watch(&process->input, EPOLLOUT) < 0)
        close_watch(&process->input);
}

void process_input_end(struct process *process)
{
    static const unsigned char end_of_file = 4; /* ^D, the terminal's VEOF */

    if (process->tty) {
        process_input(process, &end_of_file, 1);
        return;
    }
    process->input_end = true;
    if (!process_input_full(process))
        close_watch(&process->input);
}

int process_resize(struct process *process, int64_t rows, int64_t cols, struct error *err)
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};

    if (!process->tty)
        return error_set(err, ENOTTY, "process %lld has no terminal", (long long)process->id);
    if (process->outputs[0].watch.fd < 0)
        return error_set(err, ESRCH, "process %lld has ended", (long long)process->id);
    if (ioctl(process->outputs[0].watch.fd, TIOCSWINSZ, &size) < 0)
        return error_sys(err, errno, "resizing the terminal");
    return 0;
}

/* Signals and ends */

int process_signal(struct process *process, int signal, bool group, struct error *err)
{
    if (process->ended)
        return error_set(err, ESRCH, "process %lld has ended", (long long)process->id);
    if (kill(group ? -process->pid : process->pid, signal) < 0)
        return error_sys(err, errno, "signalling process %lld", (long long)process->id);
    process->requested = true;
    return 0;
}

static void on_timeout(struct timer *timer)
{
    struct process *process =
        (struct process *)(void *)((char *)timer - offsetof(struct process, timeout));

    process->timed_out = true;
    session_kill(process->pid);
}

static void child_ended(pid_t pid, int status)
{
    struct process *process = all.first;

    while (process && (process->ended || process->pid != pid))
        process = process->next;
    if (!process)
        return; /* an orphan that was adopted */
    timer_cancel(&process->timeout);
    process->ended = true;
    process->status = status;
    process->ended_at = now_realtime_ms();
    process->duration_ms = now_monotonic_ms() - process->started_monotonic;
    process->drain_left = DRAIN_MAX;
    drain(process);
}

void process_reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        child_ended(pid, status);
    if (pid < 0 && errno == ECHILD && all.stopping) {
        timer_cancel(&all.grace);
        all.stopped();
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
void process_stop_all(int64_t grace_ms, void (*done)(void))
{
    all.stopping = true;
    all.stopped = done;
    all.grace.handler = on_grace_over;
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);
    timer_set(&all.grace, grace_ms);
    process_reap();
}

/* Start */

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
                         struct error *err)
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
    int r = spawn(&what, &spawned, err);
    environment_free(environment);
    if (r < 0)
        return r;
    process->pid = spawned.pid;
    process->input.fd = spawned.input_fd;
    process->outputs[0].watch.fd = spawned.output_fd;
    process->outputs[1].watch.fd = spawned.error_fd;
    return 0;
}

static int check_start(struct error *err)
{
    if (all.stopping)
        return error_set_code(err, ESHUTDOWN, "stopping", "the sandbox is being stopped");
    if (all.live >= boot.processes_max)
        return error_set_code(err, EAGAIN, "pids_limit",
                              "%lld processes are running, which is the most there may be",
                              (long long)boot.processes_max);
    return 0;
}

static struct process *process_new(const struct process_spec *spec)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    process->input = (struct watch){.fd = -1, .handler = on_input};
    for (unsigned int i = 0; i < ELEMENTS(process->outputs); i++)
        process->outputs[i] = (struct output){.watch = {.fd = -1, .handler = on_output},
                                              .process = process,
                                              .channel = STREAM_STDOUT + i};
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
    process->id = ++all.last_id;
    process->started_at = now_realtime_ms();
    process->started_monotonic = now_monotonic_ms();
    process->next = all.first;
    if (process->next)
        process->next->previous = process;
    all.first = process;
    all.live++;
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
    int r = check_start(err);

    if (r >= 0 && !(process = process_new(spec)))
        r = error_oom(err);
    if (r >= 0)
        r = spawn_process(spec, process, err);
    if (r < 0) {
        if (process)
            process_free(process);
        return r;
    }
    enlist(process, spec->timeout_ms);
    if (stream_fd >= 0)
        r = stream_attach_process(process, &stream, TAKE_FD(stream_fd), err);
    if (r < 0)
        kill(-process->pid, SIGKILL);
    watch_outputs(process);
    if (all.live == 1)
        service_processes_changed();
    if (r >= 0)
        *ret_process = process;
    return r;
}
