/* ps: what was started in a sandbox, and how what has ended did. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/table.h"
#include "cli/text.h"

#include <string.h>

static char *command_text(const json_t *process)
{
    char *line = strdup("");
    size_t i;
    json_t *argument;

    json_array_foreach(json_object_get(process, "argv"), i, argument)
    {
        cleanup_free char *before = line;

        line =
            before ? str_format("%s%s%s", before, i ? " " : "", json_string_value(argument)) : NULL;
    }
    cleanup_free char *raw = line;
    return raw ? text_printable(raw) : NULL;
}

static void add_process(struct table *table, const json_t *process)
{
    const char *cause = member(process, "cause_text");
    cleanup_free char *id = json_dumps(json_object_get(process, "process_id"), JSON_ENCODE_ANY);
    cleanup_free char *command = command_text(process);
    cleanup_free char *shown = text_printable(cause ? cause : "");
    char age[16];

    text_age(json_integer_value(json_object_get(process, "duration_ms")), age, sizeof(age));
    table_add(table, id);
    table_add(table, member(process, "state"));
    table_add(table, age);
    table_add(table, command);
    table_add(table, shown);
}

int cmd_ps(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"ID", "STATE", "TIME", "COMMAND", "CAUSE", NULL};
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL;
    cleanup_json json_t *answer = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *process;

    (void)n_args;
    table_init(&table, headers);
    int r = cli_sandbox_path(cli, args[0], "/processes", &path, &err);
    if (r == 0)
        r = client_json(&cli->client, "GET", path, NULL, &answer, &err);
    if (r < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    json_array_foreach(json_object_get(answer, "processes"), i, process)
    {
        add_process(&table, process);
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}
