/* share, unshare: URLs that open the previews of a private sandbox for a while. */
#include "cli/cli.h"

#include "base/str.h"

#include <errno.h>

static json_t *share_body(const struct options *options)
{
    json_t *body = json_object();

    if (options->expires_ms)
        json_object_set_new(body, "expires_in_s",
                            json_integer((json_int_t)((options->expires_ms + 999) / 1000)));
    if (options->port)
        json_object_set_new(body, "port", json_integer((json_int_t)options->port));
    return body;
}

int cmd_share(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL;
    cleanup_json json_t *answer = NULL;

    (void)n_args;
    int r = cli_sandbox_path(cli, args[0], "/preview-tokens", &path, &err);
    if (r == 0)
        r = client_json(&cli->client, "POST", path, share_body(&cli->options), &answer, &err);
    if (r < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    printf("%s\n", member(answer, "url") ? member(answer, "url") : "");
    return EXIT_OK;
}

int cmd_unshare(struct cli *cli, char **args, int n_args)
{
    return cli_each(cli, args, n_args, "DELETE", "/preview-tokens", NULL);
}
