/* Theory of operation: one handler an operation; the table at the end says who may ask, in which
 * states of the connection and of the sandbox, and which fields it takes. All of it has been
 * checked before a handler runs (base/server.c, operation_admit): its sandbox is request->subject.
 */
#include "supervisor/operations.h"

#include "supervisor/access-log.h"
#include "supervisor/certificates.h"
#include "supervisor/doctor.h"
#include "supervisor/idle.h"
#include "supervisor/jwks.h"
#include "supervisor/network.h"
#include "supervisor/operations-egress.h"
#include "supervisor/operations-report.h"
#include "supervisor/pause.h"
#include "supervisor/program.h"
#include "supervisor/sandbox.h"
#include "supervisor/template.h"
#include "supervisor/update.h"

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

static struct sandbox *sandbox_of(struct request *request)
{
    return request->subject;
}

/* ---- states ------------------------------------------------------------------------------------
 */

#define IN(state) STATE_OF(SANDBOX_##state)
#define AT_REST   (IN(STOPPED) | IN(FAILED))
#define ALIVE     (IN(RUNNING) | IN(PAUSED))
#define LISTED    (IN(CREATING) | ALIVE | IN(STOPPING) | AT_REST) /* all but removing */

/* The value of the operation's field `sandbox`; NULL when it has none. */
static const char *sandbox_field(const struct server_op *op, const void *params)
{
    for (size_t i = 0; i < op->n_fields; i++)
        if (op->fields[i].type == FIELD_SANDBOX_ID && str_equal(op->fields[i].name, "sandbox"))
            return *(const char *const *)((const char *)params + op->fields[i].offset);
    return NULL;
}

static int refuse_state(const struct sandbox *sandbox, const struct server_op *op,
                        struct error *err)
{
    const char *code = sandbox->state == SANDBOX_PAUSED ? "sandbox_paused"
                       : op->states == IN(RUNNING)      ? "sandbox_not_running"
                                                        : "wrong_state";
    char legal[96] = "";

    for (enum sandbox_state state = SANDBOX_CREATING; state <= SANDBOX_REMOVING; state++)
        if (op->states & STATE_OF(state)) {
            size_t used = strlen(legal);
            snprintf(legal + used, sizeof(legal) - used, "%s%s", used ? ", " : "",
                     sandbox_state_name(state));
        }
    return error_set_code(err, EBUSY, code, "sandbox %s is %s; `%s` is for one that is %s",
                          sandbox->id, sandbox_state_name(sandbox->state), op->name, legal);
}

/* What the API needs a running one for wakes one that only sleeps. */
static bool must_wake(const struct request *request, const struct sandbox *sandbox,
                      const struct server_op *op)
{
    return request->conn->role == ROLE_API && sandbox_sleeps(sandbox) &&
           (op->states & ALIVE) == IN(RUNNING);
}

int operation_admit(struct request *request, const struct server_op *op, void *params,
                    struct error *err)
{
    const char *id = sandbox_field(op, params);

    if (!id)
        return 0;
    struct sandbox *sandbox = sandbox_find(supervisor_of(request), id);
    if (!sandbox || sandbox->state == SANDBOX_REMOVING)
        return error_set_code(err, ENOENT, "sandbox_not_found", "there is no sandbox `%s`", id);
    request->subject = sandbox;
    if (must_wake(request, sandbox, op) && sandbox_resume(sandbox, err) < 0)
        return -err->err;
    return op->states & STATE_OF(sandbox->state) ? 0 : refuse_state(sandbox, op, err);
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
    int r = program_hello(supervisor_of(request), request->conn->role, hello->listeners,
                          &request->fds, err);
    if (r < 0)
        return r;
    request_reply(request,
                  json_pack("{s:s, s:i}", "version", PACKAGE_VERSION, "protocol", PROTOCOL_VERSION),
                  NULL, 0);
    return 0;
}

static int op_leave(struct request *request, void *params, struct error *err)
{
    (void)params;
    int r = program_leave(supervisor_of(request), request->conn->role, err);
    if (r == 0)
        request_reply(request, json_object(), NULL, 0);
    return r;
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
    const struct policy *policy;

    int r =
        policy_find(&supervisor->policies,
                    spec->policy ? spec->policy : supervisor->config.sandbox_policy, &policy, err);
    if (r == 0)
        r = limits_decode(policy->limits, &limits, err);
    if (r == 0)
        r = sandbox_spec_check(spec, &limits, err);
    if (r == 0 && supervisor->stopping)
        r = error_set(err, EAGAIN, "the supervisor is stopping");
    if (r == 0)
        r = sandbox_new(supervisor, spec, policy, &limits, &sandbox, err);
    if (r == 0)
        r = sandbox_start(sandbox, err);
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

static int op_get(struct request *request, void *params, struct error *err)
{
    bool brief = request->conn->role == ROLE_PROXY;

    (void)params;
    (void)err;
    request_reply(request,
                  json_pack("{s:o}", "sandbox", sandbox_to_json(sandbox_of(request), brief)), NULL,
                  0);
    return 0;
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
    struct sandbox *sandbox = sandbox_of(request);
    bool rests = STATE_OF(sandbox->state) & AT_REST;

    (void)params;
    int r = rests ? sandbox_start(sandbox, err) : 0;
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

static int op_stop(struct request *request, void *params, struct error *err)
{
    struct id_params *id = params;
    struct sandbox *sandbox = sandbox_of(request);
    bool given = json_object_get(request->body, "grace_ms") != NULL;
    bool runs = sandbox_lives(sandbox);

    int r = runs ? sandbox_stop(sandbox, given ? id->grace_ms : 5000, err) : 0;
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

static int op_remove(struct request *request, void *params, struct error *err)
{
    (void)params;
    return sandbox_remove(sandbox_of(request), request, err);
}

/* ---- connections and sockets
 * -------------------------------------------------------------------------- */

/* The handshake with an init on behalf of the asker: hello with its role, then the connection is
 * theirs. */
struct handover {
    struct rpc rpc;
    struct request *request;
    sd_event_source *source, *timer;
    bool done;
};

/* An init that hangs must not hold its askers' requests, of which a connection has a limited
 * number. */
#define HANDOVER_TIMEOUT_US ((uint64_t)5 * 1000 * 1000)

static void handover_free(struct handover *handover)
{
    handover->source = sd_event_source_disable_unref(handover->source);
    handover->timer = sd_event_source_disable_unref(handover->timer);
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
    if (r < 0) /* before its descriptor, of which a child that is being started may hold a copy */
        handover->source = sd_event_source_disable_unref(handover->source);
    if (r < 0 && !handover->done)
        rpc_close(&handover->rpc); /* answers the call with an error */
    if (r < 0 || handover->done)
        handover_free(handover);
    return 0;
}

static int on_handover_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct handover *handover = userdata;
    struct error err = ERROR_NONE;

    (void)source;
    (void)usec;
    error_set_code(&err, ETIMEDOUT, "init_timeout", "the sandbox's init does not answer");
    rpc_cancel(&handover->rpc, handover->rpc.last_id);
    request_fail(handover->request, &err);
    handover_free(handover);
    return 0;
}

static int op_connect(struct request *request, void *params, struct error *err)
{
    struct supervisor *supervisor = supervisor_of(request);
    const char *role = request->conn->role == ROLE_PROXY ? "proxy" : "api";
    struct handover *handover = calloc(1, sizeof(*handover));

    (void)params;
    if (!handover)
        return error_oom(err);
    handover->request = request;
    handover->rpc.ipc.fd = -1;
    int fd = ipc_connect(sandbox_of(request)->run_dir_fd, "init.sock", err);
    int r = fd < 0 ? fd : 0;
    if (r == 0) {
        rpc_init(&handover->rpc, fd, NULL, NULL);
        r = rpc_call(&handover->rpc, "hello", json_pack("{s:s}", "role", role), NULL, 0,
                     on_role_set, handover, NULL, err);
    }
    if (r == 0 && event_add_ipc(supervisor->event, &handover->rpc.ipc, on_handover, handover,
                                &handover->source) < 0)
        r = error_oom(err);
    if (r == 0 &&
        sd_event_add_time_relative(supervisor->event, &handover->timer, CLOCK_MONOTONIC,
                                   HANDOVER_TIMEOUT_US, 0, on_handover_timeout, handover) < 0)
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
    struct sandbox *sandbox = sandbox_of(request);
    struct ipc_fds sockets = {.count = 0};
    size_t inet = (size_t)id->inet, inet6 = (size_t)id->inet6;
    int r = 0;

    if (inet > 0)
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

static int op_update(struct request *request, void *params, struct error *err)
{
    return sandbox_update(sandbox_of(request), params, request, err);
}

static int op_revoke(struct request *request, void *params, struct error *err)
{
    (void)params;
    int r = sandbox_revoke_tokens(sandbox_of(request), err);
    if (r == 0)
        request_reply(request, json_object(), NULL, 0);
    return r;
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

static int op_doctor(struct request *request, void *params, struct error *err)
{
    json_t *checks = doctor_report(supervisor_of(request));

    (void)params;
    if (!checks)
        return error_oom(err);
    request_reply(request, json_pack("{s:o}", "checks", checks), NULL, 0);
    return 0;
}

static int op_template_list(struct request *request, void *params, struct error *err)
{
    json_t *list = template_list(supervisor_of(request), err);

    (void)params;
    if (!list)
        return err->err ? -err->err : error_oom(err);
    request_reply(request, json_pack("{s:o}", "templates", list), NULL, 0);
    return 0;
}

/* Copies at a time; deleting what was removed is not held up by it. */
#define WORKERS_MAX 16

static int op_template_create(struct request *request, void *params, struct error *err)
{
    struct supervisor *supervisor = supervisor_of(request);

    if (supervisor->workers >= WORKERS_MAX)
        return error_set_code(err, EAGAIN, "too_many_jobs", "%u jobs run in the background already",
                              supervisor->workers);
    return template_create(supervisor, params, request, err);
}

static int op_template_remove(struct request *request, void *params, struct error *err)
{
    struct name_params *name = params;

    int r = template_remove(supervisor_of(request), name->name, err);
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

/* ---- policies
 * ------------------------------------------------------------------------------------- */

static json_int_t count_sandboxes(const struct supervisor *supervisor, const char *policy)
{
    json_int_t count = 0;

    for (const struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        if (str_equal(json_string_value(json_object_get(sandbox->spec, "policy")), policy))
            count++;
    return count;
}

static int op_policy_list(struct request *request, void *params, struct error *err)
{
    const struct supervisor *supervisor = supervisor_of(request);
    json_t *list = json_array();

    (void)params;
    (void)err;
    for (const struct policy *policy = supervisor->policies.first; policy; policy = policy->next)
        json_array_append_new(
            list, json_pack("{s:s, s:O*, s:b, s:I}", "name", policy->name, "description",
                            json_object_get(policy->file, "description"), "default",
                            str_equal(policy->name, supervisor->config.sandbox_policy), "sandboxes",
                            count_sandboxes(supervisor, policy->name)));
    request_reply(request, json_pack("{s:o}", "policies", list), NULL, 0);
    return 0;
}

static int op_policy_get(struct request *request, void *params, struct error *err)
{
    const struct name_params *name = params;
    const struct policy *policy;

    if (policy_find(&supervisor_of(request)->policies, name->name, &policy, err) < 0)
        return error_set_code(err, ENOENT, "policy_not_found", "there is no policy `%s`",
                              name->name);
    request_reply(request, json_pack("{s:O}", "policy", policy->file), NULL, 0);
    return 0;
}

struct text_params {
    const char *text, *file;
};

/* A packet holds 64 KiB, and JSON in JSON is longer than JSON. */
static const struct field text_fields[] = {
    {"text", FIELD_STRING, offsetof(struct text_params, text), 2, POLICY_MAX_BYTES, true, NULL},
    {"file", FIELD_STRING, offsetof(struct text_params, file), 1, 200, false, NULL},
};

static int op_policy_check(struct request *request, void *params, struct error *err)
{
    const struct text_params *text = params;
    struct policy *policy;
    int r = policy_check_text(supervisor_of(request)->policies.directory,
                              text->file ? text->file : "text", text->text, &policy, err);

    if (r < 0)
        return r;
    request_reply(request, json_pack("{s:s}", "name", policy->name), NULL, 0);
    policy_free(policy);
    return 0;
}

#define BOTH          (ROLE_API | ROLE_PROXY)
#define ALL           (BOTH | ROLE_RESOLVER | ROLE_FETCH | ROLE_HOOK)
#define LINKED        (IN(CREATING) | ALIVE)
#define FIELDS(table) table, ELEMENTS(table)

/* clang-format off */
const struct server_op operations[] = {
    {"hello", ALL, STATE_NEW, FIELDS(hello_fields), IPC_FDS_MAX, op_hello},
    {"program.leave", BOTH, STATE_READY, NULL, 0, 0, op_leave},
    {"sandbox.create", ROLE_API, STATE_READY, FIELDS(sandbox_spec_fields), 0, op_create},
    {"sandbox.get", BOTH, LISTED, FIELDS(id_fields), 0, op_get},
    {"sandbox.list", ROLE_API, STATE_READY, FIELDS(list_fields), 0, op_list},
    {"sandbox.start", ROLE_API, IN(CREATING) | IN(RUNNING) | AT_REST, FIELDS(id_fields), 0, op_start},
    {"sandbox.pause", ROLE_API, ALIVE, FIELDS(id_fields), 0, op_pause},
    {"sandbox.resume", ROLE_API, ALIVE, FIELDS(id_fields), 0, op_resume},
    {"sandbox.wake", BOTH, ALIVE, FIELDS(id_fields), 0, op_wake},
    {"sandbox.used", ROLE_API, LISTED, FIELDS(id_fields), 0, op_used},
    {"sandbox.stop", ROLE_API, ALIVE | IN(STOPPING) | AT_REST, FIELDS(stop_fields), 0, op_stop},
    {"sandbox.remove", ROLE_API, LISTED, FIELDS(id_fields), 0, op_remove},
    {"sandbox.connect", BOTH, IN(RUNNING), FIELDS(id_fields), 0, op_connect},
    {"sandbox.sockets", BOTH, IN(RUNNING), FIELDS(sockets_fields), 0, op_sockets},
    {"sandbox.update", ROLE_API, IN(RUNNING) | AT_REST, FIELDS(update_fields), 0, op_update},
    {"sandbox.revoke", ROLE_API, LISTED, FIELDS(id_fields), 0, op_revoke},
    {"sandbox.report", ROLE_PROXY, IN(RUNNING), FIELDS(report_fields), 0, op_report},
    {"sandbox.stats", ROLE_API, ALIVE, FIELDS(id_fields), 0, op_stats},
    {"egress.list", ROLE_RESOLVER, STATE_READY, FIELDS(egress_list_fields), 0, op_egress_list},
    {"egress.get", ROLE_RESOLVER, LINKED, FIELDS(egress_id_fields), 0, op_egress_get},
    {"egress.sockets", ROLE_RESOLVER, LINKED, FIELDS(egress_id_fields), 0, op_egress_sockets},
    {"egress.allow", ROLE_RESOLVER, LINKED, FIELDS(egress_allow_fields), 0, op_egress_allow},
    {"egress.count", ROLE_RESOLVER, LINKED, FIELDS(egress_count_fields), 0, op_egress_count},
    {"host.doctor", ROLE_API, STATE_READY, NULL, 0, 0, op_doctor},
    {"policy.list", ROLE_API, STATE_READY, NULL, 0, 0, op_policy_list},
    {"policy.get", ROLE_API, STATE_READY, FIELDS(name_fields), 0, op_policy_get},
    {"policy.check", ROLE_API, STATE_READY, FIELDS(text_fields), 0, op_policy_check},
    {"jwks.put", ROLE_FETCH, STATE_READY, NULL, 0, 1, op_jwks_put},
    {"jwks.get", ROLE_API, STATE_READY, NULL, 0, 0, op_jwks_get},
    {"jwks.refresh", ROLE_API, STATE_READY, NULL, 0, 0, op_jwks_refresh},
    {"tls.get", BOTH, STATE_READY, NULL, 0, 0, op_tls_get},
    {"webhook.channel", ROLE_API, STATE_READY, NULL, 0, 0, op_webhook_channel},
    {"log.get", ROLE_PROXY, STATE_READY, NULL, 0, 0, op_log_get},
    {"template.list", ROLE_API, STATE_READY, NULL, 0, 0, op_template_list},
    {"template.create", ROLE_API, IN(STOPPED), FIELDS(template_create_fields), 0, op_template_create},
    {"template.remove", ROLE_API, STATE_READY, FIELDS(name_fields), 0, op_template_remove},
};
/* clang-format on */

const size_t n_operations = ELEMENTS(operations);
