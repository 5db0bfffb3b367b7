/* logs: the text of the dev server's or a process's log, as it is. */
#include "cli/cli.h"

#include "base/fd.h"
#include "base/str.h"
#include "cli/text.h"

#include <string.h>

static int write_out(void *userdata, const char *data, size_t length)
{
    (void)userdata;
    return fd_write_all(STDOUT_FILENO, data, length);
}

/* The log of a process lies below that process; the dev server's is the sandbox's own. */
static char *log_suffix(const char *source)
{
    uint64_t id;

    return source && parse_u64(source, 1, INT64_MAX, &id) == 0
               ? str_format("/processes/%s/logs", source)
               : strdup("/logs");
}

/* After the log of a dev server that does not run: why not. */
static void print_crash(struct cli *cli, const char *which)
{
    cleanup_free char *path = NULL;
    cleanup_json json_t *service = NULL;

    if (cli_sandbox_path(cli, which, "/dev-server", &path, NULL) < 0 ||
        client_json(&cli->client, "GET", path, NULL, &service, NULL) < 0)
        return;
    const char *state = member(service, "state"), *cause = member(service, "cause_text");
    cleanup_free char *shown = cause ? text_printable(cause) : NULL;
    if (str_equal(state, "crashed") && shown)
        cli_progress(cli, "auracode: the dev server crashed: %s", shown);
}

int cmd_logs(struct cli *cli, char **args, int n_args)
{
    const struct options *options = &cli->options;
    struct error err = ERROR_NONE;
    cleanup_free char *suffix = log_suffix(options->source);
    cleanup_free char *path = NULL, *query = NULL;

    (void)n_args;
    int r = suffix ? cli_sandbox_path(cli, args[0], suffix, &path, &err) : error_oom(&err);
    if (r < 0)
        return cli_fail(cli, &err);
    bool process = strcmp(suffix, "/logs") != 0;
    query = cli_query(path, "source", process ? NULL : options->source, "since", options->since,
                      "follow", options->follow ? "true" : NULL, NULL);
    r = query ? client_get(&cli->client, query, NULL, write_out, NULL, &err) : error_oom(&err);
    if (r >= 0 && !process && !options->follow)
        print_crash(cli, args[0]);
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
