/* Verbs on sandboxes: ls inspect create set start stop pause resume rm url ports stats. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/table.h"
#include "cli/text.h"

#include <errno.h>
#include <string.h>

/* Query of one page: a sandbox must have all of the labels. */
static char *page_path(const struct options *options, const char *cursor)
{
    char *path =
        cli_query("/v1/sandboxes", "limit", "64", "state", options->state, "cursor", cursor, NULL);

    for (size_t i = 0; path && i < options->labels.count; i++) {
        char *longer = cli_query(path, "label", options->labels.items[i], NULL);

        free(path);
        path = longer;
    }
    return path;
}

/* All pages in one array. */
static int list_sandboxes(struct cli *cli, json_t **ret_sandboxes, struct error *err)
{
    cleanup_json json_t *all = json_array();
    cleanup_json json_t *page = NULL;
    const struct options *options = &cli->options;

    do {
        cleanup_free char *path = page_path(options, member(page, "next_cursor"));
        json_t *next = NULL;
        int r = path ? client_json(&cli->client, "GET", path, NULL, &next, err) : error_oom(err);

        if (r < 0)
            return r;
        json_decref(page);
        page = next;
        json_array_extend(all, json_object_get(page, "sandboxes"));
    } while (member(page, "next_cursor"));
    *ret_sandboxes = TAKE_PTR(all);
    return 0;
}

static void add_sandbox(struct table *table, const json_t *sandbox)
{
    int64_t created = json_integer_value(json_object_get(sandbox, "created_at"));
    char age[16];

    text_age(now_realtime_ms() - created, age, sizeof(age));
    table_add(table, member(sandbox, "id"));
    table_add(table, member(sandbox, "name"));
    table_add(table, member(sandbox, "state"));
    table_add(table, member(sandbox, "template"));
    table_add(table, age);
    table_add(table, member(sandbox, "url"));
}

int cmd_ls(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"ID", "NAME", "STATE", "TEMPLATE", "AGE", "URL", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *sandboxes = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *sandbox;

    (void)args;
    (void)n_args;
    table_init(&table, headers);
    if (list_sandboxes(cli, &sandboxes, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, sandboxes);
    json_array_foreach(sandboxes, i, sandbox)
    {
        add_sandbox(&table, sandbox);
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

static int get(struct cli *cli, const char *which, const char *suffix, json_t **ret_value,
               struct error *err)
{
    cleanup_free char *path = NULL;
    int r = cli_sandbox_path(cli, which, suffix, &path, err);

    return r < 0 ? r : client_json(&cli->client, "GET", path, NULL, ret_value, err);
}

static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return strdup(json_string_value(value));
    if (json_is_null(value))
        return strdup("");
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static int print_members(struct cli *cli, json_t *object)
{
    static const char *const headers[] = {"FIELD", "VALUE", NULL};
    cleanup_table struct table table;
    const char *name;
    json_t *value;

    table_init(&table, headers);
    json_object_foreach(object, name, value)
    {
        cleanup_free char *text = value_text(value);

        table_add(&table, name);
        table_add(&table, text);
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

int cmd_inspect(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *sandbox = NULL;

    (void)n_args;
    if (get(cli, args[0], "", &sandbox, &err) < 0)
        return cli_fail(cli, &err);
    return cli->options.json ? cli_print_json(cli, sandbox) : print_members(cli, sandbox);
}

int cmd_create(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *sandbox = NULL;
    json_t *body;

    (void)n_args;
    if (cli_sandbox_body(cli, args[0], &body, &err) < 0) {
        cli_fail(cli, &err);
        return EXIT_USAGE;
    }
    if (client_json(&cli->client, "POST", "/v1/sandboxes", body, &sandbox, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, sandbox);
    printf("%s\n", member(sandbox, "id") ? member(sandbox, "id") : "");
    return EXIT_OK;
}

static void print_egress(const json_t *sandbox)
{
    cleanup_free char *text = value_text(json_object_get(sandbox, "egress"));

    printf("egress: %s\n", text ? text : "");
}

/* The members that the options name, and `egress` (stolen); NULL when there are none. */
static json_t *patch_body(const struct options *options, json_t *egress)
{
    cleanup_json json_t *body = json_pack("{s:s*, s:o*, s:s*}", "name", options->name, "egress",
                                          egress, "access", options->access);
    cleanup_json json_t *limits = cli_limits_body(options);

    if (options->labels.count)
        json_object_set_new(body, "labels", cli_pairs(&options->labels));
    if (json_object_size(limits))
        json_object_set(body, "limits", limits);
    return json_object_size(body) ? TAKE_PTR(body) : NULL;
}

int cmd_set(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL;
    json_t *egress = NULL;
    cleanup_json json_t *sandbox = NULL;

    (void)n_args;
    if (cli_egress_body(&cli->options, &egress, &err) < 0) {
        cli_fail(cli, &err);
        return EXIT_USAGE;
    }
    cleanup_json json_t *body = patch_body(&cli->options, egress);
    if (!body) {
        error_set(&err, EINVAL, "nothing to change: `auracode help set` lists the options");
        cli_fail(cli, &err);
        return EXIT_USAGE;
    }
    int r = cli_sandbox_path(cli, args[0], "", &path, &err);
    if (r == 0)
        r = client_json(&cli->client, "PATCH", path, json_incref(body), &sandbox, &err);
    if (r < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, sandbox);
    if (egress)
        print_egress(sandbox);
    if (cli->options.access)
        printf("access: %s\n", member(sandbox, "access") ? member(sandbox, "access") : "");
    return print_members(cli, json_object_get(sandbox, "limits"));
}

int cli_each(struct cli *cli, char **args, int n_args, const char *method, const char *suffix,
             json_t *body)
{
    int code = EXIT_OK;

    for (int i = 0; i < n_args; i++) {
        struct error err = ERROR_NONE;
        cleanup_free char *path = NULL;
        cleanup_json json_t *answer = NULL;
        int r = cli_sandbox_path(cli, args[i], suffix, &path, &err);

        if (r == 0)
            r = client_json(&cli->client, method, path, json_incref(body), &answer, &err);
        if (r < 0)
            code = cli_fail(cli, &err);
        else if (cli->options.json)
            cli_print_json(cli, answer);
        else
            printf("%s\n", args[i]);
    }
    json_decref(body);
    return code;
}

int cmd_start(struct cli *cli, char **args, int n_args)
{
    return cli_each(cli, args, n_args, "POST", "/start", NULL);
}

int cmd_pause(struct cli *cli, char **args, int n_args)
{
    return cli_each(cli, args, n_args, "POST", "/pause", NULL);
}

int cmd_resume(struct cli *cli, char **args, int n_args)
{
    return cli_each(cli, args, n_args, "POST", "/resume", NULL);
}

int cmd_stop(struct cli *cli, char **args, int n_args)
{
    json_t *body = cli->options.grace_ms
                       ? json_pack("{s:I}", "grace_ms", (json_int_t)cli->options.grace_ms)
                       : NULL;

    return cli_each(cli, args, n_args, "POST", "/stop", body);
}

static int remove_all(struct cli *cli)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *sandboxes = NULL;
    int code = EXIT_OK;
    size_t i;
    json_t *sandbox;

    if (list_sandboxes(cli, &sandboxes, &err) < 0)
        return cli_fail(cli, &err);
    json_array_foreach(sandboxes, i, sandbox)
    {
        char *id = (char *)member(sandbox, "id");
        int result = id ? cli_each(cli, &id, 1, "DELETE", "", NULL) : EXIT_FAILED;

        code = result ? result : code;
    }
    return code;
}

int cmd_rm(struct cli *cli, char **args, int n_args)
{
    if (cli->options.all == (n_args > 0)) {
        fprintf(stderr, "auracode: name the sandboxes, or give --all\n");
        return EXIT_USAGE;
    }
    return cli->options.all ? remove_all(cli) : cli_each(cli, args, n_args, "DELETE", "", NULL);
}

/* http://ID.DOMAIN:PORT/ with the sandbox's port before the id. */
static char *port_url(const char *url, uint64_t port)
{
    const char *rest = strstr(url, "://");

    if (!rest)
        return NULL;
    rest += 3;
    return str_format("%.*s%llu-%s", (int)(rest - url), url, (unsigned long long)port, rest);
}

/* Nobody answers at the URL of a sandbox that does not run: why not. */
static void print_rest(struct cli *cli, const json_t *sandbox)
{
    const char *state = member(sandbox, "state"), *cause = member(sandbox, "cause_text");

    if (state && !str_equal(state, "running"))
        cli_progress(cli, "auracode: the sandbox is %s%s%s", state, cause ? ": " : "",
                     cause ? cause : "");
}

int cmd_url(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *sandbox = NULL;
    cleanup_free char *changed = NULL;

    (void)n_args;
    if (get(cli, args[0], "", &sandbox, &err) < 0)
        return cli_fail(cli, &err);
    const char *url = member(sandbox, "url");
    if (url && cli->options.port)
        url = changed = port_url(url, cli->options.port);
    if (!url) {
        error_set(&err, ENODATA, "the sandbox has no preview URL");
        return cli_fail(cli, &err);
    }
    if (cli->options.json) {
        cleanup_json json_t *object = json_pack("{s:s}", "url", url);

        return cli_print_json(cli, object);
    }
    print_rest(cli, sandbox);
    printf("%s\n", url);
    return EXIT_OK;
}

int cmd_ports(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"PORT", "ADDRESSES", "URL", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *port;

    (void)n_args;
    table_init(&table, headers);
    if (get(cli, args[0], "/ports", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    json_array_foreach(json_object_get(answer, "ports"), i, port)
    {
        cleanup_free char *number = value_text(json_object_get(port, "port"));
        cleanup_free char *addresses = value_text(json_object_get(port, "addresses"));

        table_add(&table, number);
        table_add(&table, addresses);
        table_add(&table, member(port, "url"));
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

int cmd_stats(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"WHAT", "VALUE", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *stats = NULL;
    cleanup_table struct table table;
    const char *name;
    json_t *value;

    (void)n_args;
    table_init(&table, headers);
    if (get(cli, args[0], "/stats", &stats, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, stats);
    json_object_foreach(stats, name, value)
    {
        cleanup_free char *text = value_text(value);
        char size[32];
        bool bytes = strstr(name, "bytes") && json_is_integer(value);

        if (bytes)
            text_size(json_integer_value(value), size, sizeof(size));
        table_add(&table, name);
        table_add(&table, bytes ? size : text);
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}
