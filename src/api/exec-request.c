/* Theory of operation: see exec-request.h. A shell line runs in `bash -c`, not in a login shell:
 * that would reset the PATH which the request may have set. */
#include "api/exec-request.h"

#include "base/cleanup.h"
#include "base/spec.h"

#include <errno.h>
#include <stddef.h>

#define AT(member) offsetof(struct exec_body, member)

/* The wire format between API and init bounds all of a command to 64 KiB. */
#define COMMAND_MAX 61440

static const char *const user_choices[] = {"user", "root", NULL};

#define COMMON_FIELDS                                                                              \
    {"argv", FIELD_STRING_ARRAY, AT(argv), 1, 1024, false, NULL},                                  \
        {"command", FIELD_STRING, AT(command), 1, COMMAND_MAX, false, NULL},                       \
        {"cwd", FIELD_STRING, AT(cwd), 1, 4096, false, NULL},                                      \
        {"env", FIELD_STRING_MAP, AT(env), 0, 128, false, NULL},                                   \
        {"user", FIELD_CHOICE, AT(user), 0, 0, false, user_choices},                               \
        {"name", FIELD_STRING, AT(name), 1, 64, false, NULL},                                      \
    {                                                                                              \
        "timeout_ms", FIELD_INT, AT(timeout_ms), 0, EXEC_TIMEOUT_MAX_MS, false, NULL               \
    }

const struct field exec_fields[9] = {
    COMMON_FIELDS,
    {"stdin", FIELD_STRING, AT(stdin_text), 0, INT32_MAX, false, NULL},
    {"background", FIELD_BOOL, AT(background), 0, 0, false, NULL},
};

const struct field exec_socket_fields[11] = {
    COMMON_FIELDS,
    {"tty", FIELD_BOOL, AT(tty), 0, 0, false, NULL},
    {"stdin", FIELD_BOOL, AT(feed_stdin), 0, 0, false, NULL},
    {"rows", FIELD_INT, AT(rows), 1, 1000, false, NULL},
    {"cols", FIELD_INT, AT(cols), 1, 1000, false, NULL},
};

int exec_check(const struct exec_body *body, struct error *err)
{
    if (body->argv && body->command)
        return error_set_field(err, "command", "give either argv or command");
    if (!body->argv && !body->command)
        return error_set_field(err, "command",
                               "argv (a program and its arguments) or command (a "
                               "shell line) is required");
    if (body->background && body->stdin_text)
        return error_set_field(err, "stdin", "a background process takes none");
    return env_check(body->env, err);
}

json_t *exec_shell_argv(const char *command)
{
    return json_pack("[s,s,s]", "/bin/bash", "-c", command);
}

static json_t *argv_of(const struct exec_body *body)
{
    return body->argv ? json_incref(body->argv) : exec_shell_argv(body->command);
}

json_t *exec_params(const struct exec_body *body, int64_t timeout_ms)
{
    cleanup_json json_t *argv = argv_of(body);
    json_t *params;

    if (!argv)
        return NULL;
    params =
        json_pack("{s:O,s:O*,s:s*,s:s*,s:s*,s:I}", "argv", argv, "env", body->env, "cwd", body->cwd,
                  "user", body->user, "name", body->name, "timeout_ms", (json_int_t)timeout_ms);
    if (params && body->tty &&
        json_object_update_new(params, json_pack("{s:b,s:I,s:I}", "tty", 1, "rows",
                                                 (json_int_t)(body->rows ? body->rows : 24), "cols",
                                                 (json_int_t)(body->cols ? body->cols : 80))) < 0) {
        json_decref(params);
        return NULL;
    }
    return params;
}

json_int_t process_id_of(const json_t *process)
{
    json_t *id = json_object_get(process, "process_id");

    return json_is_integer(id) && json_integer_value(id) > 0 ? json_integer_value(id) : 0;
}
