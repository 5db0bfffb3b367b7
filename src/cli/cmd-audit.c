/* audit: who did what to which sandbox, and whether the trail of it is whole. */
#include "cli/cli.h"

#include "base/id.h"
#include "base/str.h"
#include "cli/table.h"
#include "cli/text.h"

#include <string.h>
#include <time.h>

static void add_time(struct table *table, json_int_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm when;
    char text[32];

    localtime_r(&seconds, &when);
    strftime(text, sizeof(text), "%F %T", &when);
    table_add(table, text);
}

static void add_number(struct table *table, const json_t *number)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(number));
    table_add(table, text);
}

/* "key 0123…" or "unix 0": how it is known who it was. */
static void add_how(struct table *table, const json_t *record)
{
    const char *key = member(record, "key"), *how = member(record, "auth");
    const json_t *uid = json_object_get(record, "uid");
    char text[64];

    snprintf(text, sizeof(text), "%s%s%s", how ? how : "", key ? " " : "", key ? key : "");
    if (json_is_integer(uid))
        snprintf(text, sizeof(text), "unix %lld", (long long)json_integer_value(uid));
    table_add(table, text);
}

static void add_record(struct table *table, const json_t *record)
{
    const char *error = member(record, "error");

    add_number(table, json_object_get(record, "seq"));
    add_time(table, json_integer_value(json_object_get(record, "time")));
    table_add(table, member(record, "subject"));
    add_how(table, record);
    table_add(table, member(record, "address"));
    table_add(table, member(record, "operation"));
    table_add(table, member(record, "target"));
    if (error)
        table_add(table, error);
    else
        add_number(table, json_object_get(record, "status"));
}

/* The last ones come last first; people read them in order. */
static int print_records(struct cli *cli, const json_t *records, bool backward)
{
    static const char *const headers[] = {"RECORD",    "TIME",   "SUBJECT", "BY", "ADDRESS",
                                          "OPERATION", "TARGET", "RESULT",  NULL};
    cleanup_table struct table table;
    size_t n = json_array_size(records);

    table_init(&table, headers);
    for (size_t i = 0; i < n; i++)
        add_record(&table, json_array_get(records, backward ? n - 1 - i : i));
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* A sandbox that is gone is known by its id only. */
static int find_sandbox(struct cli *cli, char **ret_id, struct error *err)
{
    const char *which = cli->options.sandbox;
    char *path = NULL;
    int r = 0;

    if (which && sandbox_id_valid(which))
        path = strdup(which);
    else if (which)
        r = cli_sandbox_path(cli, which, "", &path, err);
    if (which && r == 0 && !path)
        r = error_oom(err);
    if (path && str_starts(path, "/v1/sandboxes/"))
        memmove(path, path + strlen("/v1/sandboxes/"), strlen(path + strlen("/v1/sandboxes/")) + 1);
    *ret_id = path;
    return r;
}

static int read_records(struct cli *cli, json_t **ret_answer, struct error *err)
{
    const struct options *options = &cli->options;
    cleanup_free char *sandbox = NULL;
    char limit[24];
    uint64_t since;

    snprintf(limit, sizeof(limit), "%llu",
             (unsigned long long)(options->limit ? options->limit : 64));
    if (options->since && parse_u64(options->since, 0, INT64_MAX, &since) < 0)
        return error_set_field(err, "--since", "expected the number of a record");
    int r = find_sandbox(cli, &sandbox, err);
    if (r < 0)
        return r;
    cleanup_free char *path = cli_query("/v1/audit", "limit", limit, "sandbox", sandbox, "subject",
                                        options->subject, "since", options->since, "before",
                                        options->since ? NULL : "9223372036854775807", NULL);
    return path ? client_json(&cli->client, "GET", path, NULL, ret_answer, err) : error_oom(err);
}

int cmd_audit_ls(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;

    (void)args;
    (void)n_args;
    if (read_records(cli, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    return print_records(cli, json_object_get(answer, "records"), !cli->options.since);
}

static void print_verdict(const json_t *answer, bool ok)
{
    const json_t *last = json_object_get(answer, "last");
    const char *text = member(ok ? last : answer, ok ? "hash" : "reason");
    cleanup_free char *shown = text_printable(text ? text : "");

    if (ok)
        printf("%lld records, the last is %lld with the hash %s\n",
               (long long)json_integer_value(json_object_get(answer, "records")),
               (long long)json_integer_value(json_object_get(last, "seq")), shown ? shown : "");
    else
        printf("the audit trail is broken at record %lld: %s\n",
               (long long)json_integer_value(json_object_get(answer, "first_bad")),
               shown ? shown : "");
}

int cmd_audit_verify(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;

    (void)args;
    (void)n_args;
    if (client_json(&cli->client, "GET", "/v1/audit/verify", NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    bool ok = json_is_true(json_object_get(answer, "ok"));
    if (!cli->options.json)
        print_verdict(answer, ok);
    else if (cli_print_json(cli, answer) != EXIT_OK)
        return EXIT_FAILED;
    return ok ? EXIT_OK : EXIT_FAILED;
}
