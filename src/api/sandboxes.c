/* Sandboxes: create, get, start, stop, remove, stats. The supervisor does the work; this turns its
 * answers into what clients see. */
#include "api/handlers.h"

#include "api/key.h"
#include "api/sandbox-schema.h"
#include "api/store/answers.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define IDEMPOTENCY_KEY_MAX 255u

char *sandbox_url(const struct api *api, const char *id, unsigned int port)
{
    const char *domain = api->config.proxy_domain;

    return port ? str_format("%s://%u-%s.%s%s/", api->preview_scheme, port, id, domain,
                             api->preview_port)
                : str_format("%s://%s.%s%s/", api->preview_scheme, id, domain, api->preview_port);
}

json_t *sandbox_to_client(const struct api *api, json_t *sandbox)
{
    const char *id = json_string_value(json_object_get(sandbox, "id"));
    cleanup_free char *url = sandbox_url(api, id ? id : "", 0);
    json_t *copy = json_copy(sandbox);

    if (!url || !copy || json_object_set_new(copy, "url", json_string(url)) < 0) {
        json_decref(copy);
        return NULL;
    }
    json_object_del(copy, "access_epoch");
    return copy;
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply(request, 200,
                   sandbox_to_client(request->api, json_object_get(result, "sandbox")));
}

static int ask(struct http_request *request, const char *op, rpc_reply_fn reply)
{
    supervisor_call(request->api->supervisor, op,
                    json_pack("{s:s}", "sandbox", request->captures[0]), CALL_REPEATABLE, reply,
                    request);
    return 0;
}

HANDLER(sandbox_get)
{
    (void)query;
    (void)body;
    (void)err;
    return ask(request, "sandbox.get", on_sandbox);
}

HANDLER(sandbox_start)
{
    (void)query;
    (void)body;
    (void)err;
    return ask(request, "sandbox.start", on_sandbox);
}

HANDLER(sandbox_pause)
{
    (void)query;
    (void)body;
    (void)err;
    return ask(request, "sandbox.pause", on_sandbox);
}

HANDLER(sandbox_resume)
{
    (void)query;
    (void)body;
    (void)err;
    return ask(request, "sandbox.resume", on_sandbox);
}

HANDLER(sandbox_stop)
{
    const struct sandbox_stop_body *params = body;

    (void)query;
    (void)err;
    supervisor_call(request->api->supervisor, "sandbox.stop",
                    json_pack("{s:s,s:I}", "sandbox", request->captures[0], "grace_ms",
                              (json_int_t)params->grace_ms),
                    CALL_REPEATABLE, on_sandbox, request);
    return 0;
}

/* Networks that are not public are for admins to allow. */
static int check_egress(const struct http_request *request, const json_t *egress, struct error *err)
{
    int r = egress_check(egress, "egress", err);

    return r == 0 && !request->who.admin ? egress_check_public(egress, err) : r;
}

/* The supervisor checks the rest against what the sandbox has now. */
HANDLER(sandbox_patch)
{
    const struct sandbox_patch_body *patch = body;
    int r = check_egress(request, patch->egress, err);

    (void)query;
    if (r < 0)
        return r;
    supervisor_call(request->api->supervisor, "sandbox.update",
                    json_pack("{s:s, s:s*, s:O*, s:O*, s:O*, s:s*}", "sandbox",
                              request->captures[0], "name", patch->name, "labels", patch->labels,
                              "limits", patch->limits, "egress", patch->egress, "access",
                              patch->access),
                    CALL_REPEATABLE, on_sandbox, request);
    return 0;
}

HANDLER(sandbox_remove)
{
    (void)query;
    (void)body;
    (void)err;
    return ask(request, "sandbox.remove", answer_empty);
}

static void on_stats(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    if (result)
        metrics_add_stats(request->api, request->captures[0], result);
    answer_whole(request, result, fds, err);
}

HANDLER(sandbox_stats)
{
    (void)query;
    (void)body;
    (void)err;
    return ask(request, "sandbox.stats", on_stats);
}

/* What is remembered of a creation until its answer is there. */
struct creation {
    char idempotency_key[IDEMPOTENCY_KEY_MAX + 1]; /* "": none */
    char hash[KEY_HASH_SIZE];                      /* of the request */
};

static void on_remembered(void *userdata, const struct db_result *results, const struct error *err)
{
    (void)userdata;
    if (!results)
        log_warning("keeping the answer of an idempotent request: %s", err->message);
}

static void remember(struct http_request *request, unsigned int status, const json_t *sandbox)
{
    const struct creation *creation = request->state;
    cleanup_free char *text = sandbox ? json_dumps(sandbox, JSON_COMPACT) : NULL;

    if (creation->idempotency_key[0])
        answers_finish(request->api->db, request->who.owner, creation->idempotency_key,
                       text ? status : 0, text, on_remembered, NULL);
}

static void reply_created(struct http_request *request, json_t *sandbox)
{
    const char *id = json_string_value(json_object_get(sandbox, "id"));

    http_header(request, MHD_HTTP_HEADER_LOCATION, "/v1/sandboxes/%s", id ? id : "");
    http_reply(request, 201, sandbox);
}

static void on_created(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    json_t *sandbox =
        result ? sandbox_to_client(request->api, json_object_get(result, "sandbox")) : NULL;

    (void)fds;
    remember(request, 201, sandbox);
    if (!result)
        http_fail(request, err);
    else
        reply_created(request, sandbox);
}

static int replay(struct http_request *request, const struct store_answer *answer,
                  struct error *err)
{
    const struct creation *creation = request->state;

    if (!str_equal(answer->request_hash, creation->hash))
        return error_set_code(err, EEXIST, "idempotency_key_reused",
                              "this Idempotency-Key was used with another request body");
    if (answer->status == 0)
        return error_set_code(err, EEXIST, "idempotency_in_progress",
                              "the first request with this Idempotency-Key is still running");
    http_header(request, "Idempotency-Replayed", "true");
    reply_created(request, json_loads(answer->body, 0, NULL));
    return 0;
}

static void create(struct http_request *request)
{
    json_t *params = json_copy(request->body_json);

    if (params && !request->who.admin)
        json_object_set_new(params, "owner", json_string(request->who.owner));
    supervisor_call(request->api->supervisor, "sandbox.create", params, CALL_ONCE, on_created,
                    request);
}

static void on_claimed(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct http_request *request = userdata;
    struct creation *creation = request->state;
    struct error err = failure ? *failure : ERROR_NONE;
    struct store_answer answer;

    if (results && answers_read(results, &answer)) {
        create(request);
        return;
    }
    creation->idempotency_key[0] = '\0'; /* another's */
    int r = results ? replay(request, &answer, &err) : -err.err;
    if (r < 0)
        http_fail(request, &err);
}

static int claim(struct http_request *request, const char *key, struct error *err)
{
    struct creation *creation = request->state;
    cleanup_free char *canonical = json_dumps(request->body_json, JSON_COMPACT | JSON_SORT_KEYS);

    if (strlen(key) == 0 || strlen(key) > IDEMPOTENCY_KEY_MAX)
        return error_set_field(err, "Idempotency-Key", "expected 1 to %u characters",
                               IDEMPOTENCY_KEY_MAX);
    if (!canonical || digest_hex(canonical, strlen(canonical), creation->hash) < 0)
        return error_oom(err);
    snprintf(creation->idempotency_key, sizeof(creation->idempotency_key), "%s", key);
    answers_begin(request->api->db, request->who.owner, key, creation->hash, now_realtime_ms(),
                  on_claimed, request);
    return 0;
}

HANDLER(sandbox_create)
{
    const struct sandbox_spec *spec = body;
    struct limits limits = request->api->config.limits;
    const char *key = http_get_header(request, "Idempotency-Key");

    (void)query;
    request->state = calloc(1, sizeof(struct creation));
    request->state_free = free;
    if (!request->state)
        return error_oom(err);
    if (spec->owner && !request->who.admin)
        return error_set_field(err, "owner", "only an admin may choose the owner");
    int r = sandbox_spec_check(spec, &limits, err);
    if (r == 0)
        r = check_egress(request, spec->egress, err);
    if (r == 0 && key)
        return claim(request, key, err);
    if (r == 0)
        create(request);
    return r;
}
