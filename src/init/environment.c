/* Theory of operation. The environment of a process is merged in layers, the later one winning: the
 * image's /etc/environment, what every login has, the sandbox's, the request's. */
#include "init/boot.h"

#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

static json_t *login_layer(bool as_root, bool tty)
{
    const char *user = as_root ? "root" : USER_NAME;
    json_t *layer = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "PATH",
                              "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                              "HOME", as_root ? "/root" : USER_HOME, "USER", user, "LOGNAME", user,
                              "SHELL", "/bin/bash", "LANG", "C.UTF-8");

    if (layer && tty)
        json_object_set_new(layer, "TERM", json_string("xterm-256color"));
    return layer;
}

static int check_names(json_t *env, struct error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(env, key, value) if (!*key || strchr(key, '=')) return error_set_field(
        err, "env", "`%.64s` is no name of a variable", key);
    return 0;
}

static char **to_strings(json_t *merged)
{
    char **strings = calloc(json_object_size(merged) + 1, sizeof(*strings));
    size_t count = 0;
    const char *key;
    json_t *value;

    if (!strings)
        return NULL;
    json_object_foreach(merged, key, value)
    {
        strings[count] = str_format("%s=%s", key, json_string_value(value));
        if (!strings[count++]) {
            environment_free(strings);
            return NULL;
        }
    }
    return strings;
}

char **environment_new(bool as_root, bool tty, json_t *env, struct error *err)
{
    cleanup_json json_t *merged = json_object();
    cleanup_json json_t *login = login_layer(as_root, tty);
    json_t *const layers[] = {boot.image_env, login, boot.env, env};
    char **strings = NULL;

    if (env && check_names(env, err) < 0)
        return NULL;
    for (size_t i = 0; merged && login && i < ELEMENTS(layers); i++)
        if (layers[i] && json_object_update(merged, layers[i]) < 0)
            goto out;
    if (merged && login)
        strings = to_strings(merged);
out:
    if (!strings)
        error_oom(err);
    return strings;
}

void environment_free(char **environment)
{
    for (char **string = environment; string && *string; string++)
        free(*string);
    free(environment);
}
