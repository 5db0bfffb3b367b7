/* What the verbs share: reporting, sandbox names, query strings. See cli.h. */
#include "cli/cli.h"

#include "base/egress.h"

#include "base/id.h"
#include "base/str.h"
#include "cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

int cli_fail(struct cli *cli, const struct error *err)
{
    cleanup_free char *message = text_printable(err->message);
    cleanup_json json_t *value = NULL;

    if (cli->options.json)
        value = json_pack("{s:{s:s,s:s}}", "error", "code", err->code, "message", err->message);
    if (value) {
        json_dumpf(value, stderr, JSON_COMPACT);
        fputc('\n', stderr);
    } else {
        fprintf(stderr, "auracode: %s\n", message ? message : "out of memory");
    }
    return cli->client.failure;
}

int cli_usage(const struct verb *verb, const struct error *err)
{
    fprintf(stderr, "auracode: %s\n", err->message);
    if (verb)
        fprintf(stderr, "usage: auracode %s %s\nsee `auracode help %s`\n", verb->name, verb->usage,
                verb->name);
    else
        fprintf(stderr, "see `auracode help`\n");
    return EXIT_USAGE;
}

void cli_progress(struct cli *cli, const char *format, ...)
{
    va_list arguments;

    (void)cli;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int cli_print_json(struct cli *cli, const json_t *value)
{
    int r = json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);

    (void)cli;
    fputc('\n', stdout);
    return r == 0 ? EXIT_OK : EXIT_FAILED;
}

const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* 1: the id or name matches, 2: exactly. */
static int match_sandbox(const json_t *sandbox, const char *which)
{
    if (str_equal(member(sandbox, "id"), which) || str_equal(member(sandbox, "name"), which))
        return 2;
    return member(sandbox, "id") && str_starts(member(sandbox, "id"), which);
}

struct lookup {
    char id[SANDBOX_ID_LENGTH + 1];
    int best;
    size_t count; /* with that quality */
};

static void look_through(const json_t *sandboxes, const char *which, struct lookup *lookup)
{
    size_t i;
    json_t *sandbox;

    json_array_foreach(sandboxes, i, sandbox)
    {
        int quality = match_sandbox(sandbox, which);
        const char *id = member(sandbox, "id");

        if (quality == 0 || quality < lookup->best || !id || !sandbox_id_valid(id))
            continue;
        lookup->count = quality > lookup->best ? 1 : lookup->count + 1;
        lookup->best = quality;
        snprintf(lookup->id, sizeof(lookup->id), "%s", id);
    }
}

static int find_sandbox(struct cli *cli, const char *which, char ret_id[SANDBOX_ID_LENGTH + 1],
                        struct error *err)
{
    struct lookup lookup = {.best = 0};
    cleanup_json json_t *page = NULL;

    do {
        cleanup_free char *path =
            cli_query("/v1/sandboxes", "limit", "64", "cursor", member(page, "next_cursor"), NULL);
        json_t *next = NULL;

        if (!path)
            return error_oom(err);
        int r = client_json(&cli->client, "GET", path, NULL, &next, err);
        if (r < 0)
            return r;
        json_decref(page);
        page = next;
        look_through(json_object_get(page, "sandboxes"), which, &lookup);
    } while (member(page, "next_cursor"));
    cli->client.failure = EXIT_NOT_FOUND;
    if (lookup.count == 0)
        return error_set_code(err, ENOENT, "sandbox_not_found", "there is no sandbox `%s`", which);
    if (lookup.count > 1)
        return error_set_code(err, ENOENT, "sandbox_ambiguous",
                              "%zu sandboxes are called `%s`; use an id", lookup.count, which);
    cli->client.failure = EXIT_FAILED;
    memcpy(ret_id, lookup.id, sizeof(lookup.id));
    return 0;
}

int cli_sandbox_path(struct cli *cli, const char *which, const char *suffix, char **ret_path,
                     struct error *err)
{
    char id[SANDBOX_ID_LENGTH + 1];

    if (sandbox_id_valid(which)) {
        memcpy(id, which, sizeof(id));
    } else {
        int r = find_sandbox(cli, which, id, err);
        if (r < 0)
            return r;
    }
    char *path = str_format("/v1/sandboxes/%s%s", id, suffix);
    if (!path)
        return error_oom(err);
    *ret_path = path;
    return 0;
}

char *cli_query(const char *path, ...)
{
    char *text = strdup(path);
    char separator = strchr(path, '?') ? '&' : '?';
    const char *name;
    va_list arguments;

    va_start(arguments, path);
    while (text && (name = va_arg(arguments, const char *))) {
        const char *value = va_arg(arguments, const char *);
        if (!value)
            continue;
        cleanup_free char *escaped = text_url_escape(value, true);
        char *longer = escaped ? str_format("%s%c%s=%s", text, separator, name, escaped) : NULL;

        free(text);
        text = longer;
        separator = '&';
    }
    va_end(arguments);
    return text;
}

json_t *cli_pairs(const struct args_list *list)
{
    cleanup_json json_t *object = json_object();

    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        cleanup_free char *key = strndup(list->items[i], (size_t)(equals - list->items[i]));

        if (!key || json_object_set_new(object, key, json_string(equals + 1)) < 0)
            return NULL;
    }
    return TAKE_PTR(object);
}

json_t *cli_limits_body(const struct options *options)
{
    const struct {
        const char *name;
        struct args_amount amount;
    } whole[] = {
        {"memory", {options->memory, options->memory > 0}},
        {"memory_high", options->memory_high},
        {"swap", options->swap},
        {"cpu_weight", {options->cpu_weight, options->cpu_weight > 0}},
        {"pids", {options->pids, options->pids > 0}},
        {"disk", {options->disk, options->disk > 0}},
        {"inodes", options->inodes},
        {"io_read_bps", options->io_read_bps},
        {"io_write_bps", options->io_write_bps},
        {"tmp", options->tmp},
        {"shm", options->shm},
        {"log", {options->log, options->log > 0}},
    };
    json_t *limits = json_object();

    for (size_t i = 0; i < ELEMENTS(whole); i++)
        if (whole[i].amount.given)
            json_object_set_new(limits, whole[i].name,
                                json_integer((json_int_t)whole[i].amount.value));
    if (options->cpu > 0)
        json_object_set_new(limits, "cpu", json_real(options->cpu));
    return limits;
}

int cli_egress_body(const struct options *options, json_t **ret_egress, struct error *err)
{
    cleanup_json json_t *rules = json_array();
    json_t *rule;

    if (options->allow.count == 0) {
        *ret_egress = options->egress ? json_string(options->egress) : NULL;
        return 0;
    }
    for (size_t i = 0; i < options->allow.count; i++) {
        int r = egress_rule_from_text(options->allow.items[i], &rule, err);
        if (r < 0)
            return r;
        json_array_append_new(rules, rule);
    }
    *ret_egress = json_pack("{s:s, s:O}", "mode", options->egress ? options->egress : "allow",
                            "rules", rules);
    return *ret_egress ? 0 : error_oom(err);
}

int cli_sandbox_body(const struct cli *cli, const char *template, json_t **ret_body,
                     struct error *err)
{
    const struct options *options = &cli->options;
    json_t *egress = NULL;
    int r = cli_egress_body(options, &egress, err);

    if (r < 0)
        return r;
    *ret_body = json_pack("{s:s,s:s*,s:o*,s:s*,s:o,s:o,s:o,s:s*}", "template", template, "name",
                          options->name, "egress", egress, "policy", options->policy, "env",
                          cli_pairs(&options->env), "labels", cli_pairs(&options->labels), "limits",
                          cli_limits_body(options), "access", options->access);
    return *ret_body ? 0 : error_oom(err);
}
