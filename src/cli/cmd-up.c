/* up: create, start the dev server, wait until it answers, print its URL. The waiting is a long
 * poll at the API; it ends at least every two seconds so that the user sees time pass. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/text.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_TEMPLATE   "react-vite"
#define DEFAULT_TIMEOUT_MS 60000
#define POLL_MS            2000

struct up {
    struct cli *cli;
    int64_t started; /* now_monotonic_ms */
    char *path;      /* of the sandbox's dev server */
    json_t *sandbox, *service;
    json_t *share; /* what opens a private preview, or NULL */
};

static void progress(const struct up *up, const char *what)
{
    double elapsed = (double)(now_monotonic_ms() - up->started) / 1000;

    cli_progress(up->cli, "%6.2f s  %s", elapsed, what);
}

static int create(struct up *up, struct error *err)
{
    struct cli *cli = up->cli;
    const char *template = cli->options.template ? cli->options.template : DEFAULT_TEMPLATE;
    cleanup_free char *line = NULL;
    json_t *body;
    int r = cli_sandbox_body(cli, template, &body, err);

    if (r == 0)
        r = client_json(&cli->client, "POST", "/v1/sandboxes", body, &up->sandbox, err);

    if (r < 0)
        return r;
    const char *id = member(up->sandbox, "id");
    if (!id)
        return error_set(err, EPROTO, "the server's answer names no sandbox");
    line = str_format("sandbox %s created from %s", id, template);
    up->path = str_format("/v1/sandboxes/%s/dev-server", id);
    if (!line || !up->path)
        return error_oom(err);
    progress(up, line);
    return 0;
}

static void print_last_lines(const struct up *up)
{
    size_t i;
    json_t *line;

    json_array_foreach(json_object_get(up->service, "last_lines"), i, line)
    {
        cleanup_free char *text =
            text_printable(json_string_value(line) ? json_string_value(line) : "");

        cli_progress(up->cli, "    %s", text ? text : "");
    }
}

static int wait_once(struct up *up, int64_t left_ms, struct error *err)
{
    cleanup_free char *path = str_format("%s?wait=ready&timeout_ms=%lld", up->path,
                                         (long long)(left_ms < POLL_MS ? left_ms : POLL_MS));
    json_t *service = NULL;
    int r = path ? client_json(&up->cli->client, "GET", path, NULL, &service, err) : error_oom(err);

    if (r < 0)
        return r;
    json_decref(up->service);
    up->service = service;
    return 0;
}

static int not_ready(struct up *up, const char *state, struct error *err)
{
    const char *cause = member(up->service, "cause");

    print_last_lines(up);
    return error_set_code(err, EIO, "dev_server_not_ready", "the dev server is %s%s%s",
                          state ? state : "in an unknown state", cause ? ": " : "",
                          cause ? cause : "");
}

static int wait_ready(struct up *up, struct error *err)
{
    uint64_t timeout = up->cli->options.timeout_ms;
    int64_t deadline = now_monotonic_ms() + (timeout ? (int64_t)timeout : DEFAULT_TIMEOUT_MS);

    for (;;) {
        int64_t left = deadline - now_monotonic_ms();
        const char *state = member(up->service, "state");

        if (str_equal(state, "ready"))
            return 0;
        if (str_equal(state, "crashed") || left <= 0)
            return not_ready(up, state, err);
        int r = wait_once(up, left, err);
        if (r < 0)
            return r;
        progress(up, member(up->service, "state") ? member(up->service, "state") : "?");
    }
}

static int start_dev_server(struct up *up, struct error *err)
{
    json_t *wanted =
        up->cli->options.path_form ? json_pack("{s:b}", "path_form", 1) : json_object();
    int r = client_json(&up->cli->client, "PUT", up->path, wanted, &up->service, err);

    if (r < 0)
        return r;
    progress(up, "dev server starting");
    return wait_ready(up, err);
}

static int share(struct up *up, struct error *err)
{
    cleanup_free char *path = NULL;

    if (!str_equal(member(up->sandbox, "access"), "private"))
        return 0;
    path = str_format("/v1/sandboxes/%s/preview-tokens", member(up->sandbox, "id"));
    return path ? client_json(&up->cli->client, "POST", path, json_object(), &up->share, err)
                : error_oom(err);
}

static int report(struct up *up)
{
    const char *url = member(up->share, "url");

    if (up->cli->options.json) {
        cleanup_json json_t *both = json_pack("{s:O,s:O?,s:O*}", "sandbox", up->sandbox,
                                              "dev_server", up->service, "share", up->share);

        return cli_print_json(up->cli, both);
    }
    url = url ? url : member(up->service, "url");
    url = url ? url : member(up->sandbox, "url");
    printf("%s\n", url ? url : member(up->sandbox, "id"));
    return EXIT_OK;
}

int cmd_up(struct cli *cli, char **args, int n_args)
{
    struct up up = {.cli = cli, .started = now_monotonic_ms()};
    struct error err = ERROR_NONE;
    int r = create(&up, &err);

    (void)args;
    (void)n_args;
    if (r == 0 && !cli->options.no_dev_server)
        r = start_dev_server(&up, &err);
    if (r == 0)
        r = share(&up, &err);
    int code = r < 0 ? cli_fail(cli, &err) : report(&up);
    json_decref(up.sandbox);
    json_decref(up.service);
    json_decref(up.share);
    free(up.path);
    return code;
}
