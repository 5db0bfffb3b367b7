/* Theory of operation: see dev-start.h. package.json and the lock files are asked for at once;
 * `open` counts the answers still missing. The template is asked for only if nothing else tells. */
#include "api/dev-start.h"

#include "api/detect.h"
#include "api/exec-request.h"
#include "api/inits.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/protocol.h"
#include "base/spec.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PROBES_MAX 8u
#define BASE_BYTES (sizeof("/p//65535") + SANDBOX_ID_LENGTH)

struct probe {
    struct dev_start *start;
    const char *file;
    bool found;
};

struct dev_start {
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    const struct dev_body *body;
    void (*done)(void *userdata, json_t *params, const struct error *err);
    void *userdata;
    struct probe probes[PROBES_MAX];
    unsigned int open;
    char *package;
    size_t package_length;
    struct error failed, missing; /* missing: why package.json starts nothing */
    json_t *template;             /* name */
};

static void end(struct dev_start *start, json_t *params, const struct error *err)
{
    start->done(start->userdata, params, err);
    free(start->package);
    json_decref(start->template);
    free(start);
}

static bool has_file(void *userdata, const char *name)
{
    const struct dev_start *start = userdata;

    for (size_t i = 0; i < PROBES_MAX; i++)
        if (start->probes[i].found && str_equal(start->probes[i].file, name))
            return true;
    return false;
}

/* Where the path form puts it, without a slash at the end; NULL: it serves at the root. */
static const char *base_path(const struct dev_start *start, int port, char ret_text[BASE_BYTES])
{
    if (!start->body->path_form)
        return NULL;
    snprintf(ret_text, BASE_BYTES, "/p/%s/%u", start->sandbox, (unsigned int)port & 0xffff);
    return ret_text;
}

static json_t *make_env(const struct dev_start *start, int port)
{
    const struct dev_body *body = start->body;
    char base[BASE_BYTES];
    json_t *env = detect_env(port, base_path(start, port, base));

    if (env && body->env && json_object_update(env, body->env) < 0) {
        json_decref(env);
        return NULL;
    }
    return env;
}

/* `argv` is stolen. */
static void finish(struct dev_start *start, json_t *argv, int port)
{
    json_t *params =
        json_pack("{s:o,s:o,s:s,s:i,s:b,s:b}", "argv", argv, "env", make_env(start, port), "cwd",
                  PROJECT_DIR, "port", port, "auto_restart", start->body->auto_restart, "path_form",
                  start->body->path_form);

    end(start, params, NULL);
}

static json_t *command_argv(json_t *command)
{
    return json_is_string(command) ? exec_shell_argv(json_string_value(command))
                                   : json_incref(command);
}

static void on_templates(void *userdata, json_t *result, struct ipc_fds *fds,
                         const struct error *err)
{
    struct dev_start *start = userdata;
    const char *wanted = json_string_value(start->template);
    json_t *entry, *dev = NULL;
    size_t i;

    (void)fds;
    json_array_foreach(json_object_get(result, "templates"), i, entry)
    {
        if (str_equal(json_string_value(json_object_get(entry, "name")), wanted))
            dev = json_object_get(entry, "dev");
    }
    const char *command = json_string_value(json_object_get(dev, "command"));
    json_int_t port = json_integer_value(json_object_get(dev, "port"));
    if (start->body->port)
        port = start->body->port;
    if (result && command)
        finish(start, exec_shell_argv(command), port > 0 && port <= 65535 ? (int)port : 3000);
    else
        end(start, NULL, result ? &start->missing : err);
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct dev_start *start = userdata;

    (void)fds;
    if (!result) {
        end(start, NULL, err);
        return;
    }
    start->template = json_incref(json_object_get(json_object_get(result, "sandbox"), "template"));
    supervisor_call(start->api->supervisor, "template.list", json_object(), CALL_REPEATABLE,
                    on_templates, start);
}

static void decide(struct dev_start *start)
{
    struct detected detected;
    char base[BASE_BYTES];
    json_t *command = start->body->command;
    int r = detect_dev_server(start->package, start->package_length, has_file, start, &detected,
                              &start->missing);
    int port = start->body->port ? (int)start->body->port : detected.port;

    if (command)
        finish(start, command_argv(command), port);
    else if (r == 0)
        finish(start, detect_argv(&detected, port, base_path(start, port, base)), port);
    else
        supervisor_call(start->api->supervisor, "sandbox.get",
                        json_pack("{s:s}", "sandbox", start->sandbox), CALL_REPEATABLE, on_sandbox,
                        start);
}

static void one_answered(struct dev_start *start, const struct error *err)
{
    bool harmless = !err || err->err == ENOENT || err->err == EISDIR || err->err == ENOTDIR ||
                    err->err == EINVAL || err->err == EACCES || err->err == EXDEV ||
                    err->err == ELOOP;

    if (!harmless)
        start->failed = *err;
    if (--start->open > 0)
        return;
    if (start->failed.err)
        end(start, NULL, &start->failed);
    else
        decide(start);
}

static void on_probe(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct probe *probe = userdata;

    (void)fds;
    probe->found = result != NULL;
    one_answered(probe->start, result ? NULL : err);
}

static int read_package(struct dev_start *start, int fd)
{
    struct stat stat;

    if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_size < 0 ||
        stat.st_size > PACKAGE_JSON_MAX)
        return -EPROTO;
    start->package = malloc((size_t)stat.st_size + 1);
    if (!start->package)
        return -ENOMEM;
    ssize_t n = pread(fd, start->package, (size_t)stat.st_size, 0);
    if (n < 0)
        return -errno;
    start->package_length = (size_t)n;
    return 0;
}

static void on_package(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct dev_start *start = userdata;
    cleanup_close int fd = result ? ipc_fds_take(fds, 0) : -1;
    struct error own = ERROR_NONE;
    int r = result ? read_package(start, fd) : 0;

    if (r < 0)
        err = (error_sys(&own, r, "reading " PROJECT_DIR "/package.json"), &own);
    one_answered(start, result && r == 0 ? NULL : err);
}

static void probe_files(struct dev_start *start)
{
    struct api *api = start->api;
    const char *sandbox = start->sandbox;

    start->open = 1 + (unsigned int)n_package_managers;
    for (size_t i = 0; i < n_package_managers; i++) {
        start->probes[i] = (struct probe){start, package_managers[i].lock_file, false};
        init_call(api, sandbox, "file.stat", json_pack("{s:s}", "path", start->probes[i].file), -1,
                  on_probe, &start->probes[i]);
    }
    init_call(api, sandbox, "file.read", json_pack("{s:s}", "path", "package.json"), -1, on_package,
              start);
}

static int check_command(const json_t *command, struct error *err)
{
    size_t i;
    json_t *word;

    if (!command)
        return 0;
    if (json_is_string(command) && json_string_length(command) > 0)
        return 0;
    if (!json_is_array(command) || json_array_size(command) == 0)
        return error_set_field(err, "command",
                               "expected a shell line or a program and its arguments");
    json_array_foreach(command, i, word)
    {
        if (!json_is_string(word))
            return error_set_field(err, "command", "expected strings only");
    }
    return 0;
}

int dev_start(struct api *api, const char *sandbox, const struct dev_body *body,
              void (*done)(void *userdata, json_t *params, const struct error *err), void *userdata,
              struct error *err)
{
    int r = check_command(body->command, err);

    if (r == 0)
        r = env_check(body->env, err);
    if (r < 0)
        return r;
    struct dev_start *start = calloc(1, sizeof(*start));
    if (!start)
        return error_oom(err);
    *start = (struct dev_start){.api = api, .body = body, .done = done, .userdata = userdata};
    snprintf(start->sandbox, sizeof(start->sandbox), "%s", sandbox);
    _Static_assert(PROBES_MAX >= 5, "one probe a package manager");
    probe_files(start);
    return 0;
}
