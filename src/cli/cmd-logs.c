/* logs: the text of the dev server's or a process's log, as it is. */
#include "cli/cli.h"

#include "base/fd.h"
#include "base/str.h"

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
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
