/* template build: a recipe becomes a template, built inside a sandbox, so that a recipe is as
 * confined as a project is.
 *
 * DIR/recipe.json: {"name","description","parent","egress","env":{},"files":"folder in DIR",
 * "steps":[{"name","run"}],"dev":{"command","port"}|null}. The sandbox build-NAME is made from the
 * parent, the files go to /app, each step runs there as the project's user; then the sandbox is
 * stopped and its layer taken over as the template. On a failure the sandbox is removed, and the
 * step's name and its last lines tell why. */
#include "cli/cli.h"

#include "base/fd.h"
#include "base/protocol.h"
#include "base/str.h"
#include "cli/copy.h"
#include "cli/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define RECIPE_MAX (256u << 10)

struct build {
    struct cli *cli;
    int dir_fd;
    json_t *recipe, *env;
    const char *name, *description, *parent, *egress, *files;
    json_t *steps, *dev;
    char *sandbox; /* /v1/sandboxes/ID once created */
    bool at_line_start;
};

static int read_recipe(struct build *build, const char *directory, struct error *err)
{
    json_error_t why;

    build->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (build->dir_fd < 0)
        return error_sys(err, errno, "open %s", directory);
    int r = file_read_json(build->dir_fd, "recipe.json", RECIPE_MAX, &build->recipe, err);
    if (r < 0)
        return error_prefix(err, "%s/recipe.json", directory);
    build->parent = "base";
    build->description = "";
    if (json_unpack_ex(build->recipe, &why, JSON_STRICT, "{s:s,s?s,s?s,s?s,s?s,s?O,s?o,s?o,s?o}",
                       "name", &build->name, "description", &build->description, "parent",
                       &build->parent, "egress", &build->egress, "files", &build->files, "env",
                       &build->env, "steps", &build->steps, "dev", &build->dev, "version",
                       &(json_t *){NULL}) < 0)
        return error_set(err, EINVAL, "%s/recipe.json: %s", directory, why.text);
    return 0;
}

/* The command line's --env goes over the recipe's. */
static int merge_env(struct build *build, struct error *err)
{
    cleanup_json json_t *given = cli_pairs(&build->cli->options.env);

    if (!build->env)
        build->env = json_object();
    return json_object_update(build->env, given) < 0
               ? error_set(err, EINVAL, "recipe.json: env must be an object of strings")
               : 0;
}

static int is_installed(struct build *build, bool *ret_installed, struct error *err)
{
    cleanup_json json_t *answer = NULL;
    size_t i;
    json_t *template;
    int r = client_json(&build->cli->client, "GET", "/v1/templates", NULL, &answer, err);

    if (r < 0)
        return r;
    *ret_installed = false;
    json_array_foreach(json_object_get(answer, "templates"), i, template)
    {
        if (str_equal(member(template, "name"), build->name))
            *ret_installed = true;
    }
    return 0;
}

static int create(struct build *build, struct error *err)
{
    cleanup_free char *name = str_format("build-%s", build->name);
    cleanup_json json_t *sandbox = NULL;

    if (!name)
        return error_oom(err);
    json_t *body = json_pack("{s:s,s:s,s:s,s:s*}", "template", build->parent, "name", name,
                             "policy", "builder", "egress", build->egress);
    int r = client_json(&build->cli->client, "POST", "/v1/sandboxes", body, &sandbox, err);
    if (r < 0)
        return r;
    if (!member(sandbox, "id"))
        return error_set(err, EPROTO, "the server's answer names no sandbox");
    build->sandbox = str_format("/v1/sandboxes/%s", member(sandbox, "id"));
    return build->sandbox ? 0 : error_oom(err);
}

static int copy_files(struct build *build, struct error *err)
{
    cleanup_free char *path = str_format("%s/files", build->sandbox);
    struct copy copy = {.client = &build->cli->client, .files_path = path};

    if (!path)
        return error_oom(err);
    return build->files ? copy_folder_in(&copy, build->dir_fd, build->files, PROJECT_DIR, err) : 0;
}

/* Live output, each line behind the template's name. */
static void show(void *userdata, int channel, const unsigned char *data, size_t length)
{
    struct build *build = userdata;

    (void)channel;
    for (size_t i = 0; i < length; i++) {
        if (build->at_line_start)
            fprintf(stderr, "%s | ", build->name);
        putc(data[i], stderr);
        build->at_line_start = data[i] == '\n';
    }
}

static int run_step(struct build *build, const char *name, const char *command, struct error *err)
{
    cleanup_free char *path = str_format("%s/exec", build->sandbox);
    const struct stream_options options = {.stdin_fd = -1, .output = show, .userdata = build};
    struct stream_end end = {0};

    if (!path)
        return error_oom(err);
    cli_progress(build->cli, "%s: %s", build->name, name);
    build->at_line_start = true;
    json_t *request = json_pack("{s:[s,s,s],s:O,s:s}", "argv", "/bin/bash", "-ec", command, "env",
                                build->env, "cwd", PROJECT_DIR);
    int r = stream_run(&build->cli->client, path, request, &options, &end, err);
    if (!build->at_line_start)
        putc('\n', stderr);
    if (r < 0)
        return error_prefix(err, "step `%s`", name);
    if (end.exit_code != 0)
        return error_set_code(err, EIO, "step_failed",
                              "step `%s` of template %s ended with status %d", name, build->name,
                              end.exit_code);
    return 0;
}

static int run_steps(struct build *build, struct error *err)
{
    size_t i;
    json_t *step;

    json_array_foreach(build->steps, i, step)
    {
        const char *name = member(step, "name"), *command = member(step, "run");

        if (!name || !command)
            return error_set(err, EINVAL, "recipe.json: step %zu needs name and run", i + 1);
        int r = run_step(build, name, command, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A template cannot be changed in place: the old one of that name goes first, if nothing uses it.
 */
static int install(struct build *build, bool replace, struct error *err)
{
    struct client *client = &build->cli->client;
    cleanup_free char *stop = str_format("%s/stop", build->sandbox);
    cleanup_free char *old = str_format("/v1/templates/%s", build->name);

    if (!stop || !old)
        return error_oom(err);
    int r = client_json(client, "POST", stop, NULL, NULL, err);
    if (r == 0 && replace)
        r = client_json(client, "DELETE", old, NULL, NULL, err);
    if (r < 0)
        return r;
    json_t *body = json_pack("{s:s,s:s,s:s,s:b,s:O*}", "name", build->name, "sandbox",
                             strrchr(build->sandbox, '/') + 1, "description", build->description,
                             "consume", 1, "dev", json_is_object(build->dev) ? build->dev : NULL);
    r = client_json(client, "POST", "/v1/templates", body, NULL, err);
    if (r == 0) {
        free(build->sandbox);
        build->sandbox = NULL;
    }
    return r;
}

static int build_template(struct build *build, bool replace, struct error *err)
{
    int r = create(build, err);

    if (r == 0)
        r = copy_files(build, err);
    if (r == 0)
        r = run_steps(build, err);
    if (r == 0)
        r = install(build, replace, err);
    if (r < 0 && build->sandbox) {
        enum exit_code failure = build->cli->client.failure;

        client_json(&build->cli->client, "DELETE", build->sandbox, NULL, NULL, NULL);
        build->cli->client.failure = failure;
    }
    return r;
}

int cmd_template_build(struct cli *cli, char **args, int n_args)
{
    struct build build = {.cli = cli, .dir_fd = -1};
    struct error err = ERROR_NONE;
    bool installed = false;
    int r = read_recipe(&build, args[0], &err);

    (void)n_args;
    if (r == 0)
        r = merge_env(&build, &err);
    if (r == 0)
        r = is_installed(&build, &installed, &err);
    if (r == 0 && installed && cli->options.if_changed)
        cli_progress(cli, "%s: installed already", build.name);
    else if (r == 0)
        r = build_template(&build, installed, &err);
    int code = r < 0 ? cli_fail(cli, &err) : EXIT_OK;
    free(build.sandbox);
    json_decref(build.env);
    json_decref(build.recipe);
    close_and_forget(&build.dir_fd);
    return code;
}
