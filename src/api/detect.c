/* Theory of operation: see detect.h. */
#include "api/detect.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PORT 3000

const struct package_manager package_managers[] = {
    {"pnpm", "pnpm-lock.yaml"}, {"yarn", "yarn.lock"},        {"bun", "bun.lock"},
    {"bun", "bun.lockb"},       {"npm", "package-lock.json"},
};
const size_t n_package_managers = ELEMENTS(package_managers);

static const char *const scripts[] = {"dev", "start"};

/* The first that is a dependency: a framework comes before the tool that it is built on. */
static const struct {
    const char *package;
    int port;
    bool port_option;
    /* What its client needs to find the way back through a proxy, for a script that is nothing but
     * this command; whatever else a script is, an option more might break. */
    const char *command, *option;
    const char *base_option; /* of the command: the path below which it serves */
} frameworks[] = {
    {"next", 3000, true, NULL, NULL, NULL},
    {"nuxt", 3000, true, NULL, NULL, NULL},
    {"astro", 4321, true, NULL, NULL, NULL}, /* its --base leaves scripts at the root */
    {"@sveltejs/kit", 5173, true, NULL, NULL, NULL},
    {"react-scripts", 3000, false, NULL, NULL, NULL},
    {"vite", 5173, true, "vite", NULL, "--base"},
    /* By itself its client calls the page's host on the server's own port. */
    {"webpack-dev-server", 8080, true, "webpack serve",
     "--client-web-socket-url=auto://0.0.0.0:0/ws", NULL},
};

static const struct package_manager npm = {"npm", "package-lock.json"};

static const char *const env_defaults[][2] = {
    {"HOST", "127.0.0.1"},
    {"HOSTNAME", "127.0.0.1"},
    {"BROWSER", "none"},
    {"WDS_SOCKET_PORT", "0"}, /* react-scripts: the page's port, not the server's */
};

/* Ours, for a configuration file to read, and those that frameworks read themselves. */
static const char *const base_names[] = {
    "AURACODE_BASE_PATH", "NUXT_APP_BASE_URL", "PUBLIC_URL", /* react-scripts */
};

static const struct package_manager *find_manager(bool (*has_file)(void *, const char *),
                                                  void *userdata)
{
    for (size_t i = 0; i < n_package_managers; i++)
        if (has_file(userdata, package_managers[i].lock_file))
            return &package_managers[i];
    return &npm;
}

static bool depends_on(const json_t *package, const char *name)
{
    return json_object_get(json_object_get(package, "dependencies"), name) ||
           json_object_get(json_object_get(package, "devDependencies"), name);
}

static const char *script_line(const json_t *package, const char *script)
{
    return json_string_value(json_object_get(json_object_get(package, "scripts"), script));
}

/* Whether a shell line is that command, with options at most. */
static bool is_command(const char *line, const char *command)
{
    size_t length = strlen(command);

    return line && strncmp(line, command, length) == 0 &&
           (line[length] == '\0' || line[length] == ' ') && !strpbrk(line, "&|;<>#`$()");
}

static void find_options(const json_t *package, struct detected *detected)
{
    for (size_t i = 0; i < ELEMENTS(frameworks); i++)
        if (frameworks[i].command && str_equal(frameworks[i].package, detected->framework) &&
            is_command(script_line(package, detected->script), frameworks[i].command)) {
            detected->option = frameworks[i].option;
            detected->base_option = frameworks[i].base_option;
        }
}

static void find_framework(const json_t *package, struct detected *detected)
{
    for (size_t i = 0; i < ELEMENTS(frameworks); i++)
        if (depends_on(package, frameworks[i].package)) {
            detected->framework = frameworks[i].package;
            detected->port = frameworks[i].port;
            detected->port_option = frameworks[i].port_option;
            return;
        }
}

static const char *find_script(const json_t *package)
{
    for (size_t i = 0; i < ELEMENTS(scripts); i++) {
        const char *line = script_line(package, scripts[i]);
        if (line && *line)
            return scripts[i];
    }
    return NULL;
}

int detect_dev_server(const char *text, size_t length,
                      bool (*has_file)(void *userdata, const char *name), void *userdata,
                      struct detected *ret_detected, struct error *err)
{
    json_error_t where;
    cleanup_json json_t *package = text ? json_loadb(text, length, 0, &where) : NULL;
    struct detected detected = {.manager = find_manager(has_file, userdata), .port = DEFAULT_PORT};

    find_framework(package, &detected);
    detected.script = find_script(package);
    find_options(package, &detected);
    *ret_detected = detected;
    if (!text)
        return error_set_code(err, ENOENT, "dev_script_missing",
                              "there is no /app/package.json; give a command");
    if (!package)
        return error_set_code(err, ENOENT, "dev_script_missing",
                              "/app/package.json is not JSON (line %d, column %d)", where.line,
                              where.column);
    if (!detected.script)
        return error_set_code(err, ENOENT, "dev_script_missing",
                              "/app/package.json has neither a `dev` nor a `start` script; add one "
                              "or give a command");
    return 0;
}

static int append(json_t *argv, const char *word)
{
    return json_array_append_new(argv, json_string(word));
}

json_t *detect_argv(const struct detected *detected, int port, const char *base)
{
    char text[12];
    bool ported = detected->port_option && port != detected->port;
    bool based = detected->base_option && base;
    json_t *argv = json_pack("[s,s,s]", detected->manager->name, "run", detected->script);
    int r = argv ? 0 : -1;

    snprintf(text, sizeof(text), "%d", port);
    /* npm would take the options for its own. */
    if (r == 0 && (ported || based || detected->option) &&
        str_equal(detected->manager->name, "npm"))
        r = append(argv, "--");
    if (r == 0 && ported)
        r = append(argv, "--port") < 0 ? -1 : append(argv, text);
    if (r == 0 && detected->option)
        r = append(argv, detected->option);
    if (r == 0 && based)
        r = append(argv, detected->base_option) < 0 ? -1 : append(argv, base);
    if (r == 0)
        return argv;
    json_decref(argv);
    return NULL;
}

json_t *detect_env(int port, const char *base)
{
    char text[12];
    json_t *env = json_object();
    int r = env ? 0 : -ENOMEM;

    snprintf(text, sizeof(text), "%d", port);
    if (r == 0)
        r = json_object_set_new(env, "PORT", json_string(text));
    for (size_t i = 0; r == 0 && i < ELEMENTS(env_defaults); i++)
        r = json_object_set_new(env, env_defaults[i][0], json_string(env_defaults[i][1]));
    for (size_t i = 0; r == 0 && base && i < ELEMENTS(base_names); i++)
        r = json_object_set_new(env, base_names[i], json_string(base));
    if (r == 0)
        return env;
    json_decref(env);
    return NULL;
}
