/* Theory of operation: see stream.h. One poll loop over the WebSocket, standard input and a
 * signalfd. Standard input is read only while little waits to be sent, so a fast producer is slowed
 * down to the command's pace. SIGINT goes to the command; a second one, SIGTERM and SIGHUP end us.
 */
#include "cli/stream.h"

#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/ws.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#define QUEUED_MAX (256u << 10)

struct stream {
    struct client *client;
    struct ws *ws;
    const struct stream_options *options;
    struct stream_end end;
    struct error error; /* what the server said instead of running the command */
    int signal_fd;
    int stdin_fd; /* -1 once at its end */
    unsigned int interrupts;
    bool done;
};

int stream_exit_status(const json_t *process)
{
    const char *name = json_string_value(json_object_get(process, "signal"));
    const json_t *code = json_object_get(process, "exit_code");
    int number = text_signal_number(name);

    if (number > 0)
        return 128 + number;
    return json_is_integer(code) ? (int)json_integer_value(code) & 0xff : EXIT_FAILED;
}

/* Shells' statuses for a command that could not be started. */
static int start_failure(const char *code, const char *message)
{
    if (!str_equal(code, "exec_failed"))
        return EXIT_FAILED;
    return strstr(message, strerror(ENOENT)) ? 127 : 126;
}

static void on_error(struct stream *stream, const json_t *error)
{
    const char *code = "exec_failed", *message = "the server gave no reason";

    json_unpack((json_t *)error, "{s?s,s?s}", "code", &code, "message", &message);
    error_set_code(&stream->error, EIO, code, "%s", message);
    stream->end.exit_code = start_failure(code, message);
    stream->done = true;
}

/* Nobody needs to be told of what he has asked for, or of the end of a pipeline. */
static bool is_expected(const json_t *process)
{
    static const char *const signals[] = {"SIGINT", "SIGPIPE"};
    const char *cause = json_string_value(json_object_get(process, "cause"));
    const char *signal = json_string_value(json_object_get(process, "signal"));

    if (!cause || str_equal(cause, "request"))
        return true;
    for (size_t i = 0; i < ELEMENTS(signals); i++)
        if (str_equal(signal, signals[i]))
            return true;
    return str_equal(cause, "exited") &&
           (json_integer_value(json_object_get(process, "exit_code")) == 0 ||
            (json_array_size(json_object_get(process, "limits_hit")) == 0 &&
             !json_object_get(json_object_get(process, "cause_detail"), "syscall")));
}

static void make_note(const json_t *process, char *ret_note, size_t size)
{
    const char *text = json_string_value(json_object_get(process, "cause_text"));
    cleanup_free char *shown = text && !is_expected(process) ? text_printable(text) : NULL;

    snprintf(ret_note, size, "%s", shown ? shown : "");
}

static void on_control(struct stream *stream, const unsigned char *data, size_t length)
{
    cleanup_json json_t *message = json_loadb((const char *)data, length, 0, NULL);
    const char *type = json_string_value(json_object_get(message, "type"));
    const json_t *process = json_object_get(message, "process");

    if (json_object_get(message, "error")) {
        on_error(stream, json_object_get(message, "error"));
    } else if (str_equal(type, "exit")) {
        process = process ? process : message;
        stream->end.exit_code = stream_exit_status(process);
        make_note(process, stream->end.note, sizeof(stream->end.note));
        stream->done = true;
    }
}

static void on_message(void *userdata, bool binary, const unsigned char *data, size_t length)
{
    struct stream *stream = userdata;

    if (!binary)
        on_control(stream, data, length);
    else if (length > 0 && data[0] == STREAM_CONTROL)
        on_control(stream, data + 1, length - 1);
    else if (length > 1)
        stream->options->output(stream->options->userdata, data[0], data + 1, length - 1);
}

static int send_control(struct stream *stream, json_t *message)
{
    char packet[256] = {STREAM_CONTROL};
    size_t length = json_dumpb(message, packet + 1, sizeof(packet) - 1, JSON_COMPACT);

    json_decref(message);
    if (length == 0 || length > sizeof(packet) - 1)
        return -ENOMEM;
    return ws_send(stream->ws, true, packet, length + 1);
}

static int forward_stdin(struct stream *stream)
{
    char packet[STREAM_CHUNK_MAX + 1] = {STREAM_STDIN};
    ssize_t n = read(stream->stdin_fd, packet + 1, STREAM_CHUNK_MAX);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        n = 0;
        stream->stdin_fd = -1;
    }
    return ws_send(stream->ws, true, packet, (size_t)n + 1);
}

static int on_resize(struct stream *stream)
{
    unsigned int rows, cols;

    if (!stream->options->tty)
        return 0;
    terminal_size(stream->options->stdin_fd, &rows, &cols);
    return send_control(
        stream, json_pack("{s:s,s:i,s:i}", "type", "resize", "rows", (int)rows, "cols", (int)cols));
}

static int on_signal(struct stream *stream)
{
    struct signalfd_siginfo info;

    if (read(stream->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return 0;
    if (info.ssi_signo == SIGWINCH)
        return on_resize(stream);
    if (info.ssi_signo == SIGINT && stream->interrupts++ == 0)
        return send_control(stream, json_pack("{s:s,s:s}", "type", "signal", "signal", "SIGINT"));
    stream->end.detached = true;
    stream->end.exit_code = 128 + (int)info.ssi_signo;
    stream->done = true;
    return 0;
}

static int step(struct stream *stream)
{
    bool room = ws_queued(stream->ws) < QUEUED_MAX;
    struct pollfd fds[] = {
        {.fd = ws_fd(stream->ws),
         .events = (short)(POLLIN | (ws_wants_write(stream->ws) ? POLLOUT : 0))},
        {.fd = stream->signal_fd, .events = POLLIN},
        {.fd = room ? stream->stdin_fd : -1, .events = POLLIN},
    };
    int r = poll(fds, ELEMENTS(fds), -1);

    if (r < 0)
        return errno == EINTR ? 0 : -errno;
    if (fds[1].revents)
        r = on_signal(stream);
    if (r >= 0 && fds[2].revents)
        r = forward_stdin(stream);
    if (r < 0)
        return r;
    r = ws_dispatch(stream->ws);
    if (stream->done)
        return 0;
    return r == 0 ? -ECONNRESET : r;
}

static int watch_signals(struct stream *stream, sigset_t *ret_old)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, ret_old);
    stream->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return stream->signal_fd < 0 ? -errno : 0;
}

static int start(struct stream *stream, const char *path, json_t *request, struct error *err)
{
    cleanup_free char *text = json_dumps(request, JSON_COMPACT);

    if (!text)
        return error_oom(err);
    int r = ws_open(stream->client, path, on_message, stream, &stream->ws, err);
    if (r < 0)
        return r;
    r = ws_send(stream->ws, false, text, strlen(text));
    if (r == 0 && stream->options->tty)
        r = terminal_raw(stream->options->stdin_fd);
    return r < 0 ? error_sys(err, r, "starting the command") : 0;
}

static int finish(struct stream *stream, int r, struct stream_end *ret_end, struct error *err)
{
    if (r < 0) {
        stream->client->failure = EXIT_UNREACHABLE;
        return error_sys(err, r, "connection to the daemon lost while the command ran");
    }
    if (stream->error.err) {
        *err = stream->error;
        stream->client->failure = (enum exit_code)stream->end.exit_code;
        return -stream->error.err;
    }
    *ret_end = stream->end;
    return 0;
}

int stream_run(struct client *client, const char *path, json_t *request,
               const struct stream_options *options, struct stream_end *ret_end, struct error *err)
{
    struct stream stream = {
        .client = client, .options = options, .signal_fd = -1, .stdin_fd = options->stdin_fd};
    sigset_t old;
    int r = start(&stream, path, request, err);

    json_decref(request);
    if (r == 0) {
        r = watch_signals(&stream, &old);
        while (r >= 0 && !stream.done)
            r = step(&stream);
        terminal_restore();
        sigprocmask(SIG_SETMASK, &old, NULL);
        close_and_forget(&stream.signal_fd);
        r = finish(&stream, r, ret_end, err);
    }
    ws_free(stream.ws);
    return r;
}
