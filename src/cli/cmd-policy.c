/* policy ls, show, check: what sandboxes are held by. The files belong to the host's administrator;
 * SIGHUP makes the daemon read them again. */
#include "cli/cli.h"

#include "base/fd.h"
#include "base/str.h"
#include "cli/table.h"
#include "cli/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define POLICY_TEXT_MAX 49152
#define POLICY_FILE_MAX 200 /* bytes of a name that the daemon repeats in messages */

int cmd_policy_ls(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"NAME", "DEFAULT", "SANDBOXES", "DESCRIPTION", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *policy;

    (void)args;
    (void)n_args;
    table_init(&table, headers);
    if (client_json(&cli->client, "GET", "/v1/policies", NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    json_array_foreach(json_object_get(answer, "policies"), i, policy)
    {
        cleanup_free char *count =
            json_dumps(json_object_get(policy, "sandboxes"), JSON_ENCODE_ANY);

        table_add(&table, member(policy, "name"));
        table_add(&table, json_is_true(json_object_get(policy, "default")) ? "yes" : "");
        table_add(&table, count);
        table_add(&table, member(policy, "description"));
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

static void print_strings(const char *title, const json_t *list)
{
    if (json_array_size(list) == 0)
        return;
    printf("%s:\n", title);
    for (size_t i = 0; i < json_array_size(list); i++)
        printf("  %s\n", json_string_value(json_array_get(list, i)));
}

/* A string, or the strings of a group and its reason; ends the line. */
static void print_group(const json_t *member, const char *key)
{
    const json_t *strings = json_object_get(member, key);

    if (json_is_string(member))
        printf(" %s", json_string_value(member));
    for (size_t i = 0; i < json_array_size(strings); i++)
        printf("%s %s", i ? "," : "", json_string_value(json_array_get(strings, i)));
    if (strings)
        printf(": %s", json_string_value(json_object_get(member, "reason")));
    printf("\n");
}

static void print_groups(const char *title, const json_t *list, const char *key)
{
    if (json_array_size(list) > 0)
        printf("%s:\n", title);
    for (size_t i = 0; i < json_array_size(list); i++) {
        printf(" ");
        print_group(json_array_get(list, i), key);
    }
}

/* Entries with names and a reason, each on one line. */
static void print_calls(const char *title, const json_t *list)
{
    if (json_array_size(list) > 0)
        printf("%s:\n", title);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i), *names = json_object_get(entry, "names");
        const char *action = member(entry, "action");
        printf("  %s%s", action ? action : "", action ? " " : "");
        for (size_t n = 0; n < json_array_size(names); n++)
            printf("%s%s", n ? ", " : "", json_string_value(json_array_get(names, n)));
        printf(": %s\n", member(entry, "reason") ? member(entry, "reason") : "");
    }
}

static void print_figures(const char *title, json_t *figures)
{
    const char *key;
    json_t *value;

    if (json_object_size(figures) > 0)
        printf("%s:\n", title);
    json_object_foreach(figures, key, value)
    {
        if (str_equal(key, "comment"))
            continue;
        cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY);
        printf("  %s %s\n", key, text ? text : "");
    }
}

/* PATH, ...: ACCESS, ...: reason */
static void print_rules(const char *title, const json_t *rules)
{
    if (json_array_size(rules) > 0)
        printf("%s:\n", title);
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i), *access = json_object_get(rule, "access");
        printf("  ");
        for (size_t n = 0; n < json_array_size(access); n++)
            printf("%s%s", n ? ", " : "", json_string_value(json_array_get(access, n)));
        printf(" below");
        print_group(rule, "paths");
    }
}

static void print_ports(const char *title, const json_t *ports)
{
    if (ports)
        printf("%s:%s", title, json_array_size(ports) > 0 ? "" : " none");
    for (size_t i = 0; i < json_array_size(ports); i++)
        printf(" %lld", (long long)json_integer_value(json_array_get(ports, i)));
    if (ports)
        printf("\n");
}

static void print_landlock(const json_t *landlock)
{
    const json_t *tcp = json_object_get(landlock, "tcp");

    print_rules("Landlock, everything in the sandbox", json_object_get(landlock, "sandbox"));
    print_rules("Landlock, processes of the user besides", json_object_get(landlock, "user"));
    print_strings("Landlock, out of reach outside of the sandbox",
                  json_object_get(landlock, "scopes"));
    print_ports("Landlock, TCP ports to listen on", json_object_get(tcp, "bind"));
    print_ports("Landlock, TCP ports to connect to", json_object_get(tcp, "connect"));
}

static void print_egress(const json_t *egress)
{
    cleanup_free char *text = egress ? json_dumps(egress, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    printf("egress: %s\n", json_is_string(egress) ? json_string_value(egress)
                           : text                 ? text
                                                  : "as configured");
}

int cmd_policy_show(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *policy = NULL;
    cleanup_free char *name = text_url_escape(args[0], false);
    cleanup_free char *path = name ? str_format("/v1/policies/%s", name) : NULL;
    int r = path ? client_json(&cli->client, "GET", path, NULL, &policy, &err) : error_oom(&err);

    (void)n_args;
    if (r < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, policy);
    json_t *seccomp = json_object_get(policy, "seccomp");
    printf("%s: %s\n", args[0], member(policy, "description") ? member(policy, "description") : "");
    print_egress(json_object_get(policy, "egress"));
    print_figures("limits", json_object_get(policy, "limits"));
    print_figures("rlimits", json_object_get(policy, "rlimits"));
    print_strings("capabilities of the init",
                  json_object_get(json_object_get(policy, "capabilities"), "init"));
    print_groups("masked paths", json_object_get(policy, "masked_paths"), "paths");
    print_groups("read-only paths", json_object_get(policy, "read_only_paths"), "paths");
    print_landlock(json_object_get(policy, "landlock"));
    print_groups("system calls allowed (all others answer ENOSYS)",
                 json_object_get(seccomp, "allow"), "names");
    print_calls("denied with EPERM", json_object_get(seccomp, "deny"));
    print_calls("rules on arguments", json_object_get(seccomp, "rules"));
    return EXIT_OK;
}

int cmd_policy_check(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_free char *text = NULL;
    size_t length;
    int r = file_read(AT_FDCWD, args[0], POLICY_TEXT_MAX, &text, &length, &err);

    (void)n_args;
    if (r == 0) {
        const char *file = strlen(args[0]) <= POLICY_FILE_MAX ? args[0] : "file";
        json_t *body = json_pack("{s:s, s:s}", "text", text, "file", file);
        r = client_json(&cli->client, "POST", "/v1/policies:check", body, NULL, &err);
    }
    if (r < 0)
        return cli_fail(cli, &err);
    printf("%s: valid\n", args[0]);
    return EXIT_OK;
}
