/* Theory of operation: the process operations of protocol.h, thin over process.h and stream.h. */
#include "init/conn.h"
#include "init/process-io.h"
#include "init/stream.h"

#include "base/cleanup.h"
#include "base/protocol.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define TIMEOUT_MAX_MS (7LL * 24 * 3600 * 1000)
#define LIST_BYTES_MAX 60000u /* of a packet of 64 KiB */

static const char *const users[] = {USER_NAME, "root", NULL};

struct start_params {
    json_t *argv, *env;
    const char *cwd, *user, *name;
    int64_t rows, cols, timeout_ms;
    bool tty, use_stdin, attach, discard;
};

static const struct field start_fields[] = {
    {"argv", FIELD_STRING_ARRAY, offsetof(struct start_params, argv), .min = 1, .required = true},
    {"env", FIELD_STRING_MAP, offsetof(struct start_params, env), .required = false},
    {"cwd", FIELD_STRING, offsetof(struct start_params, cwd), .min = 1},
    {"user", FIELD_CHOICE, offsetof(struct start_params, user), .choices = users},
    {"name", FIELD_STRING, offsetof(struct start_params, name), .max = 64},
    {"tty", FIELD_BOOL, offsetof(struct start_params, tty), .required = false},
    {"rows", FIELD_INT, offsetof(struct start_params, rows), .max = 65535},
    {"cols", FIELD_INT, offsetof(struct start_params, cols), .max = 65535},
    {"timeout_ms", FIELD_INT, offsetof(struct start_params, timeout_ms), .max = TIMEOUT_MAX_MS},
    {"stdin", FIELD_BOOL, offsetof(struct start_params, use_stdin), .required = false},
    {"attach", FIELD_BOOL, offsetof(struct start_params, attach), .required = false},
    {"discard", FIELD_BOOL, offsetof(struct start_params, discard), .required = false},
};

struct process_params {
    int64_t process_id, since, rows, cols;
    const char *signal;
    bool group, follow, use_stdin;
};

#define PROCESS_ID_FIELD                                                                           \
    {                                                                                              \
        "process_id", FIELD_INT, offsetof(struct process_params, process_id),                      \
            .min = 1, .max = INT64_MAX, .required = true                                           \
    }

static const struct field get_fields[] = {PROCESS_ID_FIELD};

static const struct field signal_fields[] = {
    PROCESS_ID_FIELD,
    {"signal", FIELD_STRING, offsetof(struct process_params, signal), .max = 16, .required = true},
    {"group", FIELD_BOOL, offsetof(struct process_params, group), .required = false},
};

static const struct field attach_fields[] = {
    PROCESS_ID_FIELD,
    {"since", FIELD_INT, offsetof(struct process_params, since), .min = -1, .max = INT64_MAX},
    {"follow", FIELD_BOOL, offsetof(struct process_params, follow), .required = true},
    {"stdin", FIELD_BOOL, offsetof(struct process_params, use_stdin), .required = false},
};

static const struct field resize_fields[] = {
    PROCESS_ID_FIELD,
    {"rows", FIELD_INT, offsetof(struct process_params, rows), .min = 1, .max = 65535,
     .required = true},
    {"cols", FIELD_INT, offsetof(struct process_params, cols), .min = 1, .max = 65535,
     .required = true},
};

static struct process *find(const struct process_params *params, struct error *err)
{
    struct process *process = process_find(params->process_id);

    if (!process)
        error_set_code(err, ENOENT, "process_not_found", "there is no process %lld",
                       (long long)params->process_id);
    return process;
}

static void reply_process(struct request *request, const struct process *process)
{
    request_reply(request, json_pack("{s:o}", "process", process_to_json(process)), NULL, 0);
}

static int need_stream(struct request *request, struct error *err)
{
    return request->fds.count == 1 ? 0 : error_set(err, EINVAL, "no stream was passed");
}

static int op_start(struct request *request, void *data, struct error *err)
{
    const struct start_params *params = data;
    struct process *process = NULL;

    if (params->attach && need_stream(request, err) < 0)
        return -EINVAL;
    const struct process_spec spec = {
        .name = params->name,
        .argv = params->argv,
        .env = params->env,
        .cwd = params->cwd,
        .as_root = params->user && strcmp(params->user, "root") == 0,
        .tty = params->tty,
        .rows = params->rows,
        .cols = params->cols,
        .timeout_ms = params->timeout_ms,
        .want_stdin = params->use_stdin,
        .discard = params->discard,
        .stream_fd = params->attach ? ipc_fds_take(&request->fds, 0) : -1,
    };
    int r = process_start(&spec, &process, err);
    if (r >= 0)
        reply_process(request, process);
    return r;
}

/* As many as a packet holds; the newest come first. */
static int op_list(struct request *request, void *data, struct error *err)
{
    json_t *list = json_array();
    size_t size = 0;

    (void)data;
    for (struct process *process = process_next(NULL); list && process;
         process = process_next(process)) {
        json_t *item = process_to_json(process);
        size += item ? json_dumpb(item, NULL, 0, JSON_COMPACT) + 1 : 0;
        if (size > LIST_BYTES_MAX) {
            json_decref(item);
            break;
        }
        json_array_append_new(list, item);
    }
    if (!list)
        return error_oom(err);
    request_reply(request, json_pack("{s:o}", "processes", list), NULL, 0);
    return 0;
}

static int op_get(struct request *request, void *data, struct error *err)
{
    const struct process *process = find(data, err);

    if (!process)
        return -ENOENT;
    reply_process(request, process);
    return 0;
}

static int op_signal(struct request *request, void *data, struct error *err)
{
    const struct process_params *params = data;
    bool group = json_is_false(json_object_get(request->body, "group")) ? false : true;
    int signal = signal_number(params->signal);
    struct process *process = find(params, err);

    if (!process)
        return -ENOENT;
    if (signal == 0)
        return error_set_field(err, "signal", "there is no signal `%s`", params->signal);
    int r = process_signal(process, signal, group, err);
    if (r >= 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

static int op_attach(struct request *request, void *data, struct error *err)
{
    const struct process_params *params = data;
    struct stream_options options = {
        .since = params->since, .follow = params->follow, .feeds_stdin = params->use_stdin};
    struct process *process = find(params, err);

    if (!process || need_stream(request, err) < 0)
        return process ? -EINVAL : -ENOENT;
    int r = stream_attach_process(process, &options, ipc_fds_take(&request->fds, 0), err);
    if (r >= 0)
        reply_process(request, process);
    return r;
}

static int op_resize(struct request *request, void *data, struct error *err)
{
    const struct process_params *params = data;
    struct process *process = find(params, err);

    if (!process)
        return -ENOENT;
    int r = process_resize(process, params->rows, params->cols, err);
    if (r >= 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

#define FIELDS(fields) fields, ELEMENTS(fields)

const struct server_op process_ops[] = {
    {"process.start", ROLE_API | ROLE_SUPERVISOR, INIT_UP, FIELDS(start_fields), 1, op_start},
    {"process.list", ROLE_API, INIT_ANY, NULL, 0, 0, op_list},
    {"process.get", ROLE_API, INIT_ANY, FIELDS(get_fields), 0, op_get},
    {"process.signal", ROLE_API, INIT_ANY, FIELDS(signal_fields), 0, op_signal},
    {"process.attach", ROLE_API, INIT_ANY, FIELDS(attach_fields), 1, op_attach},
    {"process.resize", ROLE_API, INIT_ANY, FIELDS(resize_fields), 0, op_resize},
};
const size_t n_process_ops = ELEMENTS(process_ops);

_Static_assert(sizeof(struct start_params) <= SERVER_PARAMS_MAX, "params of process.start");
