/* template ls, create, rm: what is installed. Building is in cmd-template-build.c. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/table.h"
#include "cli/text.h"

#include <string.h>

int cmd_template_ls(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"NAME", "PARENT", "AGE", "DESCRIPTION", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *template;

    (void)args;
    (void)n_args;
    table_init(&table, headers);
    if (client_json(&cli->client, "GET", "/v1/templates", NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    json_array_foreach(json_object_get(answer, "templates"), i, template)
    {
        int64_t created = json_integer_value(json_object_get(template, "created_at"));
        char age[16];

        text_age(now_realtime_ms() - created, age, sizeof(age));
        table_add(&table, member(template, "name"));
        table_add(&table, member(template, "parent"));
        table_add(&table, created ? age : NULL);
        table_add(&table, member(template, "description"));
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* The API wants an id; the user may give a name. */
static char *id_of(struct cli *cli, const char *which, struct error *err)
{
    cleanup_free char *path = NULL;

    if (cli_sandbox_path(cli, which, "", &path, err) < 0)
        return NULL;
    return strdup(strrchr(path, '/') + 1);
}

int cmd_template_create(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *template = NULL;
    cleanup_free char *id = id_of(cli, args[1], &err);

    (void)n_args;
    if (!id)
        return cli_fail(cli, &err);
    json_t *body = json_pack("{s:s,s:s,s:s*}", "name", args[0], "sandbox", id, "description",
                             cli->options.description);
    if (client_json(&cli->client, "POST", "/v1/templates", body, &template, &err) < 0)
        return cli_fail(cli, &err);
    return cli->options.json ? cli_print_json(cli, template) : EXIT_OK;
}

int cmd_template_rm(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_free char *name = text_url_escape(args[0], false);
    cleanup_free char *path = name ? str_format("/v1/templates/%s", name) : NULL;
    int r = path ? client_json(&cli->client, "DELETE", path, NULL, NULL, &err) : error_oom(&err);

    (void)n_args;
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
