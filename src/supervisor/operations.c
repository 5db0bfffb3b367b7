/* Theory of operation: one handler an operation; the table at the end says who may ask and which
 * fields it takes, and base/server.c has checked both before a handler runs. */
#include "supervisor/operations.h"

#include "supervisor/network.h"
#include "supervisor/program.h"
#include "supervisor/sandbox.h"
#include "supervisor/template.h"

#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/protocol.h"
#include "base/str.h"

#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static struct supervisor *supervisor_of(struct request *request)
{
    return request->conn->userdata;
}

static int find(struct request *request, const char *id, struct sandbox **ret_sandbox,
                struct error *err)
{
    struct sandbox *sandbox = sandbox_find(supervisor_of(request), id);

    if (!sandbox || sandbox->state == SANDBOX_REMOVING)
        return error_set_code(err, ENOENT, "sandbox_not_found", "there is no sandbox %s", id);
    *ret_sandbox = sandbox;
    return 0;
}

static int find_running(struct request *request, const char *id, struct sandbox **ret_sandbox,
                        struct error *err)
{
    int r = find(request, id, ret_sandbox, err);

    if (r == 0 && (*ret_sandbox)->state != SANDBOX_RUNNING)
        r = error_set_code(err, EBUSY, "sandbox_not_running", "sandbox %s is %s", id,
                           sandbox_state_name((*ret_sandbox)->state));
    return r;
}

/* ---- hello --------------------------------------------------------------------------------------
 */

struct hello_params {
    int64_t protocol, pid;
    json_t *listeners;
};

static const struct field hello_fields[] = {
    {"protocol", FIELD_INT, offsetof(struct hello_params, protocol), 1, 1000, false, NULL},
    {"pid", FIELD_INT, offsetof(struct hello_params, pid), 1, 1 << 30, false, NULL},
    {"listeners", FIELD_STRING_ARRAY, offsetof(struct hello_params, listeners), 0, IPC_FDS_MAX,
     false, NULL},
};

static int op_hello(struct request *request, void *params, struct error *err)
{
    struct hello_params *hello = params;

    if (hello->protocol && hello->protocol != PROTOCOL_VERSION)
        return error_set(err, EPROTO, "protocol %lld is not spoken here, but %d",
                         (long long)hello->protocol, PROTOCOL_VERSION);
    if (json_is_array(hello->listeners))
        program_hello(supervisor_of(request), request->conn->role, hello->listeners, &request->fds);
    request_reply(request,
                  json_pack("{s:s, s:i}", "version", PACKAGE_VERSION, "protocol", PROTOCOL_VERSION),
                  NULL, 0);
    return 0;
}

/* ---- sandboxes
 * ------------------------------------------------------------------------------------ */

struct id_params {
    const char *id;
    int64_t grace_ms, inet, inet6;
};

#define ID_FIELD                                                                                   \
    {                                                                                              \
        "sandbox", FIELD_SANDBOX_ID, offsetof(struct id_params, id), 0, 0, true, NULL              \
    }

static const struct field id_fields[] = {ID_FIELD};

static const struct field stop_fields[] = {
    ID_FIELD,
    {"grace_ms", FIELD_INT, offsetof(struct id_params, grace_ms), 0, 60000, false, NULL},
};

static const struct field sockets_fields[] = {
    ID_FIELD,
    {"inet", FIELD_INT, offsetof(struct id_params, inet), 0, 8, false, NULL},
    {"inet6", FIELD_INT, offsetof(struct id_params, inet6), 0, 8, false, NULL},
};

static int op_create(struct request *request, void *params, struct error *err)
{
    struct sandbox_spec *spec = params;
    struct supervisor *supervisor = supervisor_of(request);
    struct limits limits = supervisor->config.limits;
    struct sandbox *sandbox = NULL;

    int r = sandbox_spec_check(spec, &limits, err);
    if (r == 0 && supervisor->stopping)
        r = error_set(err, EAGAIN, "the supervisor is stopping");
    if (r == 0)
        r = sandbox_new(supervisor, spec, &limits, &sandbox, err);
    if (r == 0)
        r = sandbox_start(sandbox, err);
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

static int op_get(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = NULL;

    int r = find(request, id->id, &sandbox, err);
    if (r == 0)
        request_reply(request,
                      json_pack("{s:o}", "sandbox",
                                sandbox_to_json(sandbox, request->conn->role == ROLE_PROXY)),
                      NULL, 0);
    return r;
}

struct list_params {
    const char *after;
    int64_t limit;
};

static const struct field list_fields[] = {
    {"after", FIELD_SANDBOX_ID, offsetof(struct list_params, after), 0, 0, false, NULL},
    {"limit", FIELD_INT, offsetof(struct list_params, limit), 1, 64, false, NULL},
};

static struct sandbox *next_by_id(struct supervisor *supervisor, const char *after)
{
    struct sandbox *best = NULL;

    for (struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state != SANDBOX_REMOVING && strcmp(sandbox->id, after) > 0 &&
            (!best || strcmp(sandbox->id, best->id) < 0))
            best = sandbox;
    return best;
}

/* A page stays well below a packet however large the sandboxes' environments are. */
static int op_list(struct request *request, void *params, struct error *err)
{
    struct list_params *list = params;
    struct supervisor *supervisor = supervisor_of(request);
    cleanup_json json_t *page = json_array();
    struct sandbox *sandbox = next_by_id(supervisor, list->after ? list->after : "");
    size_t bytes = 0, limit = list->limit ? (size_t)list->limit : 64;

    while (page && sandbox && json_array_size(page) < limit) {
        json_t *value = sandbox_to_json(sandbox, false);
        bytes += value ? json_dumpb(value, NULL, 0, JSON_COMPACT) : 0;
        if (!value || (bytes > 48000 && json_array_size(page) > 0)) {
            json_decref(value);
            break;
        }
        json_array_append_new(page, value);
        sandbox = next_by_id(supervisor, sandbox->id);
    }
    if (!page)
        return error_oom(err);
    request_reply(request, json_pack("{s:O, s:b}", "sandboxes", page, "more", sandbox != NULL),
                  NULL, 0);
    return 0;
}

static int op_start(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = NULL;

    int r = find(request, id->id, &sandbox, err);
    bool runs = r == 0 && (sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_CREATING);
    if (r == 0 && !runs)
        r = sandbox_start(sandbox, err);
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

static int op_stop(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = NULL;
    bool given = json_object_get(request->body, "grace_ms") != NULL;

    int r = find(request, id->id, &sandbox, err);
    bool rests = r == 0 && sandbox->state != SANDBOX_RUNNING && sandbox->state != SANDBOX_CREATING;
    if (r == 0 && !rests)
        r = sandbox_stop(sandbox, given ? id->grace_ms : 5000, err);
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

static int op_remove(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = NULL;

    int r = find(request, id->id, &sandbox, err);
    return r == 0 ? sandbox_remove(sandbox, request, err) : r;
}

/* ---- connections and sockets
 * -------------------------------------------------------------------------- */

/* The handshake with an init on behalf of the asker: hello with its role, then the connection is
 * theirs. */
struct handover {
    struct rpc rpc;
    struct request *request;
    sd_event_source *source;
    struct error err;
    bool done;
};

static void handover_free(struct handover *handover)
{
    handover->source = sd_event_source_disable_unref(handover->source);
    if (handover->rpc.ipc.fd >= 0)
        rpc_close(&handover->rpc);
    free(handover);
}

static void on_role_set(void *userdata, json_t *result, struct ipc_fds *fds,
                        const struct error *err)
{
    struct handover *handover = userdata;

    (void)fds;
    handover->done = true;
    if (!result) {
        request_fail(handover->request, err);
        return;
    }
    handover->source = sd_event_source_disable_unref(handover->source);
    /* taken out before another packet is read, so that no event meant for the new owner is lost */
    cleanup_close int fd = TAKE_FD(handover->rpc.ipc.fd);
    request_reply(handover->request,
                  json_pack("{s:O?}", "generation", json_object_get(result, "generation")), &fd, 1);
}

static int on_handover(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct handover *handover = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    int r = rpc_dispatch(&handover->rpc);
    if (r < 0 && !handover->done)
        rpc_close(&handover->rpc); /* answers the call with an error */
    if (r < 0 || handover->done)
        handover_free(handover);
    return 0;
}

static int op_connect(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct supervisor *supervisor = supervisor_of(request);
    const char *role = request->conn->role == ROLE_PROXY ? "proxy" : "api";
    struct sandbox *sandbox = NULL;

    int r = find_running(request, id->id, &sandbox, err);
    if (r < 0)
        return r;
    struct handover *handover = calloc(1, sizeof(*handover));
    if (!handover)
        return error_oom(err);
    handover->request = request;
    handover->rpc.ipc.fd = -1;
    int fd = ipc_connect(sandbox->run_dir_fd, "init.sock", err);
    r = fd < 0 ? fd : 0;
    if (r == 0) {
        rpc_init(&handover->rpc, fd, NULL, NULL);
        r = rpc_call(&handover->rpc, "hello", json_pack("{s:s}", "role", role), NULL, 0,
                     on_role_set, handover, NULL, err);
    }
    if (r == 0 && event_add_ipc(supervisor->event, &handover->rpc.ipc, on_handover, handover,
                                &handover->source) < 0)
        r = error_oom(err);
    if (r < 0) {
        if (handover->rpc.calls) /* the caller answers, not the callback */
            rpc_cancel(&handover->rpc, handover->rpc.last_id);
        handover_free(handover);
    }
    return r;
}

static int op_sockets(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = NULL;
    struct ipc_fds sockets = {.count = 0};
    size_t inet = (size_t)id->inet, inet6 = (size_t)id->inet6;

    int r = find_running(request, id->id, &sandbox, err);
    if (r == 0 && inet > 0)
        r = netns_sockets(sandbox->netns_fd, AF_INET, inet, sockets.fd, err);
    if (r >= 0 && inet > 0)
        sockets.count = inet;
    if (r >= 0 && inet6 > 0)
        r = netns_sockets(sandbox->netns_fd, AF_INET6, inet6, sockets.fd + inet, err);
    if (r >= 0) {
        sockets.count = inet + inet6;
        request_reply(request, NULL, sockets.fd, sockets.count);
        r = 0;
    }
    ipc_fds_close(&sockets);
    return r;
}

static int op_stats(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = NULL;
    struct cgroup_stats stats;
    int64_t rx = -1, tx = -1;

    int r = find_running(request, id->id, &sandbox, err);
    if (r < 0)
        return r;
    cgroup_stats(&supervisor_of(request)->cgroups, sandbox->id, &stats);
    if (sandbox_egress(sandbox))
        network_link_bytes(sandbox->id, &rx, &tx);
    request_reply(request,
                  json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "memory_bytes",
                            (json_int_t)stats.memory_bytes, "memory_peak_bytes",
                            (json_int_t)stats.memory_peak_bytes, "memory_limit_bytes",
                            (json_int_t)stats.memory_limit_bytes, "cpu_ns",
                            (json_int_t)stats.cpu_ns, "pids", (json_int_t)stats.pids, "pids_limit",
                            (json_int_t)stats.pids_limit, "oom_kills", (json_int_t)stats.oom_kills,
                            "network_rx_bytes", (json_int_t)rx, "network_tx_bytes", (json_int_t)tx),
                  NULL, 0);
    return 0;
}

/* ---- templates
 * ------------------------------------------------------------------------------------------- */

static const struct field template_create_fields[] = {
    {"name", FIELD_STRING, offsetof(struct template_spec, name), 1, 64, true, NULL},
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct template_spec, sandbox), 0, 0, true, NULL},
    {"description", FIELD_STRING, offsetof(struct template_spec, description), 0, 512, false, NULL},
    {"dev", FIELD_OBJECT, offsetof(struct template_spec, dev), 0, 0, false, NULL},
    {"consume", FIELD_BOOL, offsetof(struct template_spec, consume), 0, 0, false, NULL},
};

struct name_params {
    const char *name;
};

static const struct field name_fields[] = {
    {"name", FIELD_STRING, offsetof(struct name_params, name), 1, 64, true, NULL},
};

static int op_template_list(struct request *request, void *params, struct error *err)
{
    json_t *list = template_list(supervisor_of(request), err);

    (void)params;
    if (!list)
        return err->err ? -err->err : error_oom(err);
    request_reply(request, json_pack("{s:o}", "templates", list), NULL, 0);
    return 0;
}

static int op_template_create(struct request *request, void *params, struct error *err)
{
    return template_create(supervisor_of(request), params, request, err);
}

static int op_template_remove(struct request *request, void *params, struct error *err)
{
    struct name_params *name = params;

    int r = template_remove(supervisor_of(request), name->name, err);
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

#define BOTH          (ROLE_API | ROLE_PROXY)
#define FIELDS(table) table, ELEMENTS(table)

const struct server_op operations[] = {
    {"hello", BOTH, FIELDS(hello_fields), IPC_FDS_MAX, op_hello},
    {"sandbox.create", ROLE_API, FIELDS(sandbox_spec_fields), 0, op_create},
    {"sandbox.get", BOTH, FIELDS(id_fields), 0, op_get},
    {"sandbox.list", ROLE_API, FIELDS(list_fields), 0, op_list},
    {"sandbox.start", ROLE_API, FIELDS(id_fields), 0, op_start},
    {"sandbox.stop", ROLE_API, FIELDS(stop_fields), 0, op_stop},
    {"sandbox.remove", ROLE_API, FIELDS(id_fields), 0, op_remove},
    {"sandbox.connect", BOTH, FIELDS(id_fields), 0, op_connect},
    {"sandbox.sockets", BOTH, FIELDS(sockets_fields), 0, op_sockets},
    {"sandbox.stats", ROLE_API, FIELDS(id_fields), 0, op_stats},
    {"template.list", ROLE_API, NULL, 0, 0, op_template_list},
    {"template.create", ROLE_API, FIELDS(template_create_fields), 0, op_template_create},
    {"template.remove", ROLE_API, FIELDS(name_fields), 0, op_template_remove},
};

const size_t n_operations = ELEMENTS(operations);
