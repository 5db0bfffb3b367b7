/* doctor, version, help: what is installed and whether it works. */
#include "config.h"

#include "cli/cli.h"

#include "base/str.h"
#include "cli/table.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

int cmd_help(struct cli *cli, char **args, int n_args)
{
    int used;
    const struct verb *verb = n_args > 0 ? verb_find(args, n_args, &used) : NULL;

    (void)cli;
    if (n_args == 0) {
        verbs_help(stdout);
        return EXIT_OK;
    }
    if (!verb) {
        fprintf(stderr, "auracode: there is no verb `%s`\n", args[0]);
        return EXIT_USAGE;
    }
    verb_help(verb, stdout);
    return EXIT_OK;
}

/* The client's own version is told even when the daemon does not answer; the exit code then says
 * so. */
int cmd_version(struct cli *cli, char **args, int n_args)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *server = NULL;

    (void)args;
    (void)n_args;
    int r =
        cli->client.curl ? client_json(&cli->client, "GET", "/v1/version", NULL, &server, &err) : 0;
    if (cli->options.json) {
        cleanup_json json_t *both =
            json_pack("{s:s,s:O?}", "client", PACKAGE_VERSION, "server", server);

        cli_print_json(cli, both);
    } else {
        printf("auracode %s\n", PACKAGE_VERSION);
        if (server)
            printf("auracoded %s\n", member(server, "version") ? member(server, "version") : "?");
    }
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}

static bool check(const char *what, bool good, const char *why, const char *advice)
{
    printf("%-4s %s%s%s\n", good ? "ok" : "FAIL", what, why && *why ? ": " : "", why ? why : "");
    if (!good && advice)
        printf("     -> %s\n", advice);
    return good;
}

static bool check_daemon(struct cli *cli)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *server = NULL;
    int r = client_json(&cli->client, "GET", "/v1/version", NULL, &server, &err);

    if (!check("daemon answers", r == 0, err.message, "systemctl start auracode"))
        return false;
    const char *version = member(server, "version");
    return check("versions of client and daemon agree", str_equal(version, PACKAGE_VERSION),
                 version, "restart the daemon after an upgrade: systemctl restart auracode");
}

static bool check_ready(struct cli *cli)
{
    struct error err = ERROR_NONE;
    int r = client_json(&cli->client, "GET", "/readyz", NULL, NULL, &err);

    return check("daemon is ready for work", r == 0, err.message,
                 "see journalctl -u auracode for what it waits for");
}

static bool check_templates(struct cli *cli)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *answer = NULL;
    int r = client_json(&cli->client, "GET", "/v1/templates", NULL, &answer, &err);
    size_t n = json_array_size(json_object_get(answer, "templates"));

    if (r == 0 && n == 0)
        error_set(&err, ENOENT, "none is installed");
    return check("templates are installed", n > 0, err.message,
                 "auracode template build DIR, see auracode help template build");
}

/* auracoded beside us (build tree), in ../sbin (installed), or on the PATH. */
static char *find_daemon(void)
{
    static const char *const places[] = {"auracoded", "../sbin/auracoded"};
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return strdup("auracoded");
    self[n] = '\0';
    const char *directory = dirname(self);
    for (size_t i = 0; i < ELEMENTS(places); i++) {
        char *path = str_format("%s/%s", directory, places[i]);

        if (!path || access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return strdup("auracoded");
}

static bool check_system(void)
{
    cleanup_free char *program = find_daemon();
    char *argv[] = {program, "--check", NULL};
    int status = 0;
    pid_t pid;

    if (geteuid() != 0) {
        printf("--   kernel and system: run doctor as root to have them checked\n");
        return true;
    }
    fflush(stdout);
    if (!program || posix_spawnp(&pid, program, NULL, NULL, argv, environ) != 0)
        return check("auracoded --check runs", false, NULL, "install auracoded");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return check("kernel and system", WIFEXITED(status) && WEXITSTATUS(status) == 0, NULL,
                 "see the lines above");
}

/* One line a hold; false when a required one is not in force. */
static bool print_isolation(const json_t *checks)
{
    const char *const headers[] = {"ISOLATION", "STATUS", "DETAIL", NULL};
    cleanup_table struct table table;
    bool good = true;
    size_t i;
    json_t *entry;

    table_init(&table, headers);
    json_array_foreach(checks, i, entry)
    {
        const char *advice = member(entry, "advice");
        cleanup_free char *detail = str_format("%s%s%s", member(entry, "detail"),
                                               advice ? " -> " : "", advice ? advice : "");
        table_add(&table, member(entry, "name"));
        table_add(&table, member(entry, "status"));
        table_add(&table, detail);
        good = good && !(advice && json_is_true(json_object_get(entry, "required")));
    }
    table_print(&table, stdout, false);
    return good;
}

static int doctor_json(struct cli *cli)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *report = NULL;

    if (client_json(&cli->client, "GET", "/v1/doctor", NULL, &report, &err) < 0)
        return cli_fail(cli, &err);
    return cli_print_json(cli, report);
}

static bool check_isolation(struct cli *cli)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *report = NULL;

    if (client_json(&cli->client, "GET", "/v1/doctor", NULL, &report, &err) < 0)
        return check("isolation", false, err.message, "ask as an admin");
    return print_isolation(json_object_get(report, "checks"));
}

int cmd_doctor(struct cli *cli, char **args, int n_args)
{
    (void)args;
    (void)n_args;
    if (cli->options.json)
        return doctor_json(cli);
    bool good = check_daemon(cli);
    if (good) {
        good = check_ready(cli);
        good = check_templates(cli) && good;
        good = check_isolation(cli) && good;
    }
    if (!cli->client.socket)
        return good ? EXIT_OK : cli->client.failure;
    good = check_system() && good;
    return good ? EXIT_OK : EXIT_FAILED;
}
