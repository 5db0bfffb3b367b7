/* token: API keys for access over TCP. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/table.h"
#include "cli/text.h"

static json_t *scopes_of(const struct args_list *list)
{
    json_t *scopes = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(scopes, json_string(list->items[i]));
    if (list->count == 0)
        json_array_append_new(scopes, json_string("sandboxes"));
    return scopes;
}

int cmd_token_create(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    json_t *body = json_pack("{s:s,s:o,s:s*}", "name", args[0], "scopes",
                             scopes_of(&cli->options.scopes), "owner", cli->options.owner);

    (void)n_args;
    if (client_json(&cli->client, "POST", "/v1/tokens", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    printf("%s\n", member(answer, "token") ? member(answer, "token") : "");
    return EXIT_OK;
}

int cmd_token_ls(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"ID", "NAME", "SCOPES", "OWNER", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *token;

    (void)args;
    (void)n_args;
    table_init(&table, headers);
    if (client_json(&cli->client, "GET", "/v1/tokens", NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    json_array_foreach(json_object_get(answer, "tokens"), i, token)
    {
        cleanup_free char *id = json_dumps(json_object_get(token, "id"), JSON_ENCODE_ANY);
        cleanup_free char *scopes = json_dumps(json_object_get(token, "scopes"), JSON_ENCODE_ANY);

        table_add(&table, member(token, "id") ? member(token, "id") : id);
        table_add(&table, member(token, "name"));
        table_add(&table, scopes);
        table_add(&table, member(token, "owner"));
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

int cmd_token_rm(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_free char *id = text_url_escape(args[0], false);
    cleanup_free char *path = id ? str_format("/v1/tokens/%s", id) : NULL;
    int r = path ? client_json(&cli->client, "DELETE", path, NULL, NULL, &err) : error_oom(&err);

    (void)n_args;
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
