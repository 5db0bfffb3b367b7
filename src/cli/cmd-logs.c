/* logs: the text of the dev server's or a process's log, as it is. */
#include "cli/cli.h"

#include "base/fd.h"

static int write_out(void *userdata, const char *data, size_t length)
{
    (void)userdata;
    return fd_write_all(STDOUT_FILENO, data, length);
}

int cmd_logs(struct cli *cli, char **args, int n_args)
{
    const struct options *options = &cli->options;
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL, *query = NULL;

    (void)n_args;
    if (cli_sandbox_path(cli, args[0], "/logs", &path, &err) < 0)
        return cli_fail(cli, &err);
    query = cli_query(path, "source", options->source, "since", options->since, "follow",
                      options->follow ? "true" : NULL, NULL);
    int r = query ? client_get(&cli->client, query, NULL, write_out, NULL, &err) : error_oom(&err);
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
