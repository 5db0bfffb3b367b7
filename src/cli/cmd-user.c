/* user: built-in accounts, which log in with a password. A password is asked for on the terminal or
 * read from standard input, never taken from the command line, which every process can read. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/text.h"

#include <errno.h>
#include <string.h>

#define PASSWORD_MAX 1024u

struct password {
    char text[PASSWORD_MAX + 2]; /* with the end of the line */
};

static void wipe(struct password *password)
{
    explicit_bzero(password, sizeof(*password));
}

#define cleanup_password __attribute__((cleanup(wipe))) struct password

static int check_length(struct password *password, struct error *err)
{
    size_t length = strcspn(password->text, "\n");

    if (length > PASSWORD_MAX)
        return error_set_field(err, "password", "expected 8 to %u bytes", PASSWORD_MAX);
    password->text[length] = '\0';
    return 0;
}

static int read_line(struct password *password, struct error *err)
{
    setvbuf(stdin, NULL, _IONBF, 0); /* no copy of it stays in a buffer */
    if (!fgets(password->text, sizeof(password->text), stdin))
        return error_set_field(err, "password", "expected a line on standard input");
    return check_length(password, err);
}

static int ask_twice(struct password *password, struct error *err)
{
    cleanup_password again = {.text = ""};
    int r = terminal_password("Password: ", password->text, sizeof(password->text));

    if (r == 0)
        r = terminal_password("Again: ", again.text, sizeof(again.text));
    if (r == -ENOTTY)
        return error_set(err, EINVAL, "standard input is no terminal: give --password-stdin");
    if (r < 0)
        return error_sys(err, r, "reading the password");
    if (strcmp(password->text, again.text) != 0)
        return error_set_field(err, "password", "the two are not the same");
    return check_length(password, err);
}

static int get_password(const struct cli *cli, struct password *password, struct error *err)
{
    return cli->options.password_stdin ? read_line(password, err) : ask_twice(password, err);
}

static void print_user(const json_t *user)
{
    printf("%s\n", member(user, "id") ? member(user, "id") : "");
}

static int show(struct cli *cli, const json_t *user)
{
    if (cli->options.json)
        return cli_print_json(cli, user);
    print_user(user);
    return EXIT_OK;
}

int cmd_user_add(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    cleanup_password password = {.text = ""};

    (void)n_args;
    if (get_password(cli, &password, &err) < 0)
        return cli_fail(cli, &err);
    json_t *body = json_pack("{s:s, s:s}", "name", args[0], "password", password.text);
    if (client_json(&cli->client, "POST", "/v1/users", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    return show(cli, answer);
}

int cmd_user_ls(struct cli *cli, char **args, int n_args)
{
    static const char *const headers[] = {"ID", "NAME", "STATE", NULL};
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    cleanup_table struct table table;
    size_t i;
    json_t *user;

    (void)args;
    (void)n_args;
    table_init(&table, headers);
    if (client_json(&cli->client, "GET", "/v1/users", NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (cli->options.json)
        return cli_print_json(cli, answer);
    json_array_foreach(json_object_get(answer, "users"), i, user)
    {
        bool disabled = json_is_true(json_object_get(user, "disabled"));

        table_add(&table, member(user, "id"));
        table_add(&table, member(user, "name"));
        table_add(&table, disabled ? "disabled" : "enabled");
    }
    return table_print(&table, stdout, cli->color) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* "/v1/users/ID" of the user of that name. */
static int find_user(struct cli *cli, const char *name, char **ret_path, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    cleanup_free char *query = cli_query("/v1/users", "name", name, NULL);
    int r = query ? client_json(&cli->client, "GET", query, NULL, &answer, err) : error_oom(err);

    if (r < 0)
        return r;
    const char *id = member(json_array_get(json_object_get(answer, "users"), 0), "id");
    if (!id) {
        cli->client.failure = EXIT_NOT_FOUND;
        return error_set_code(err, ENOENT, "user_not_found", "there is no user `%s`", name);
    }
    *ret_path = str_format("/v1/users/%s", id);
    return *ret_path ? 0 : error_oom(err);
}

/* `body` is stolen. */
static int change(struct cli *cli, const char *name, json_t *body)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *patch = body, *answer = NULL;
    cleanup_free char *path = NULL;
    int r = find_user(cli, name, &path, &err);

    if (r == 0)
        r = client_json(&cli->client, "PATCH", path, TAKE_PTR(patch), &answer, &err);
    return r < 0 ? cli_fail(cli, &err) : cli->options.json ? cli_print_json(cli, answer) : EXIT_OK;
}

int cmd_user_passwd(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_password password = {.text = ""};

    (void)n_args;
    if (get_password(cli, &password, &err) < 0)
        return cli_fail(cli, &err);
    return change(cli, args[0], json_pack("{s:s}", "password", password.text));
}

int cmd_user_disable(struct cli *cli, char **args, int n_args)
{
    (void)n_args;
    return change(cli, args[0], json_pack("{s:b}", "disabled", 1));
}

int cmd_user_enable(struct cli *cli, char **args, int n_args)
{
    (void)n_args;
    return change(cli, args[0], json_pack("{s:b}", "disabled", 0));
}

int cmd_user_rm(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL;
    int r = find_user(cli, args[0], &path, &err);

    (void)n_args;
    if (r == 0)
        r = client_json(&cli->client, "DELETE", path, NULL, NULL, &err);
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
