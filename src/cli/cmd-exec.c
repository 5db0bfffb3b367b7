/* exec: a command in a sandbox, always streamed, so that output is live and never clipped. */
#include "cli/cli.h"

#include "base/fd.h"
#include "base/protocol.h"
#include "base/str.h"
#include "cli/stream.h"
#include "cli/terminal.h"

#include <errno.h>
#include <string.h>

static void write_out(void *userdata, int channel, const unsigned char *data, size_t length)
{
    int *failed = userdata;
    int r = fd_write_all(channel == STREAM_STDERR ? STDERR_FILENO : STDOUT_FILENO, data, length);

    if (r < 0)
        *failed = r;
}

static int add_words(json_t *array, char **words, int n)
{
    for (int i = 0; i < n; i++)
        if (json_array_append_new(array, json_string(words[i])) < 0)
            return -EINVAL;
    return 0;
}

static void add_terminal(json_t *request)
{
    const char *term = getenv("TERM");
    json_t *env = json_object_get(request, "env");
    unsigned int rows, cols;

    terminal_size(STDIN_FILENO, &rows, &cols);
    json_object_set_new(request, "tty", json_true());
    json_object_set_new(request, "rows", json_integer(rows));
    json_object_set_new(request, "cols", json_integer(cols));
    if (term && !json_object_get(env, "TERM"))
        json_object_set_new(env, "TERM", json_string(term));
}

static json_t *make_request(const struct options *options, char **words, int n)
{
    cleanup_json json_t *argv = json_array();

    if (add_words(argv, words, n) < 0)
        return NULL;
    json_t *request =
        json_pack("{s:O,s:o,s:s*,s:s*}", "argv", argv, "env", cli_pairs(&options->env), "cwd",
                  options->cwd, "user", options->user);
    if (options->interactive || options->tty)
        json_object_set_new(request, "stdin", json_true());
    if (options->timeout_ms)
        json_object_set_new(request, "timeout_ms", json_integer((json_int_t)options->timeout_ms));
    if (options->tty)
        add_terminal(request);
    return request;
}

int cmd_exec(struct cli *cli, char **args, int n_args)
{
    const struct options *options = &cli->options;
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL;
    struct stream_end end = {0};
    int write_failed = 0;
    const struct stream_options stream = {
        .stdin_fd = options->interactive ? STDIN_FILENO : -1,
        .tty = options->tty && options->interactive && isatty(STDIN_FILENO),
        .output = write_out,
        .userdata = &write_failed,
    };

    json_t *request = make_request(options, args + 1, n_args - 1);
    if (!request) {
        error_set(&err, EINVAL, "the command is not UTF-8");
        return cli_fail(cli, &err);
    }
    if (cli_sandbox_path(cli, args[0], "/exec", &path, &err) < 0) {
        json_decref(request);
        return cli_fail(cli, &err);
    }
    if (stream_run(&cli->client, path, request, &stream, &end, &err) < 0)
        return cli_fail(cli, &err);
    if (end.note[0])
        cli_progress(cli, "auracode: %s", end.note);
    return write_failed < 0 && end.exit_code == 0 ? EXIT_FAILED : end.exit_code;
}
