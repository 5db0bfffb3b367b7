/* Theory of operation. What a process writes goes into its log ring as long as the pipes are open,
 * even after its end; a lossless stream that is behind stops the reading. What is sent to it waits
 * in one packet until the program takes it. */
#include "init/process-internal.h"

#include "init/ring.h"
#include "init/stream.h"

#include "base/protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

static void close_watch(struct watch *watch)
{
    loop_unwatch(watch);
    close_and_forget(&watch->fd);
}

bool process_pipes_open(const struct process *process)
{
    return process->outputs[0].watch.fd >= 0 || process->outputs[1].watch.fd >= 0;
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

void process_pipes_watch(struct process *process)
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

/* Takes what the pipes of an ended process still hold. */
void process_pipes_drain(struct process *process)
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
    process_finish(process);
}

static void on_output(struct watch *watch, uint32_t events)
{
    struct output *output = (struct output *)watch;
    struct process *process = output->process;

    (void)events;
    ssize_t n = read_output(output);
    process_pipes_watch(process);
    if (n < 0)
        process_tidy_soon();
}

void process_stream_changed(struct process *process)
{
    process_pipes_watch(process);
    process_pipes_drain(process);
}

void process_stream_gone(struct process *process)
{
    process_stream_changed(process);
    process_tidy_soon();
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

void process_pipes_init(struct process *process)
{
    process->input = (struct watch){.fd = -1, .handler = on_input};
    for (unsigned int i = 0; i < ELEMENTS(process->outputs); i++)
        process->outputs[i] = (struct output){.watch = {.fd = -1, .handler = on_output},
                                              .process = process,
                                              .channel = STREAM_STDOUT + i};
}

void process_input_close(struct process *process)
{
    close_watch(&process->input);
}

void process_pipes_close(struct process *process)
{
    for (size_t i = 0; i < ELEMENTS(process->outputs); i++)
        close_watch(&process->outputs[i].watch);
    process_input_close(process);
}
