/* Preview tokens (base/preview-token.h): made on demand and kept by nobody; revoked all at once, by
 * another epoch of the sandbox.
 *
 * POST /v1/sandboxes/{id}/preview-tokens {"expires_in_s"? (1..2592000, 3600), "port"? (1..65535)}
 *   -> 201 {"token", "expires_at" (ms since 1970), "url": the preview's with the token}
 * DELETE /v1/sandboxes/{id}/preview-tokens -> 204: none made so far opens anything any more, and
 *   what was opened with one is closed
 *
 * A token may be made for a public sandbox; it counts once that is private. */
#include "api/handlers.h"

#include "api/sandbox-schema.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/preview-token.h"
#include "base/str.h"

#include <string.h>

struct wanted {
    int64_t expires_in_s;
    unsigned int port;
};

static json_t *token_to_json(const struct http_request *request, const char *token,
                             int64_t expires_at)
{
    const struct wanted *wanted = request->state;
    cleanup_free char *base = sandbox_url(request->api, request->captures[0], wanted->port);
    cleanup_free char *url = base ? str_format("%s?%s=%s", base, PREVIEW_TOKEN_QUERY, token) : NULL;

    return url ? json_pack("{s:s, s:I, s:s}", "token", token, "expires_at",
                           (json_int_t)expires_at * 1000, "url", url)
               : NULL;
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds,
                       const struct error *failure)
{
    struct http_request *request = userdata;
    const struct wanted *wanted = request->state;
    struct error err = *failure;
    char token[PREVIEW_TOKEN_LENGTH + 1];

    (void)fds;
    if (result) {
        json_t *sandbox = json_object_get(result, "sandbox");
        json_int_t epoch = json_integer_value(json_object_get(sandbox, "access_epoch"));
        int64_t expires_at = now_realtime_ms() / 1000 + wanted->expires_in_s;
        if (preview_token_make(&request->api->preview_key, request->captures[0], expires_at,
                               (uint32_t)epoch, token, &err) == 0) {
            http_reply(request, 201, token_to_json(request, token, expires_at));
            return;
        }
    }
    http_fail(request, &err);
}

HANDLER(preview_token_create)
{
    const struct preview_token_body *params = body;
    struct wanted *wanted = calloc(1, sizeof(*wanted));

    (void)query;
    if (!wanted)
        return error_oom(err);
    wanted->expires_in_s = params->expires_in_s ? params->expires_in_s : PREVIEW_EXPIRES_DEFAULT_S;
    wanted->port = (unsigned int)params->port;
    request->state = wanted;
    request->state_free = free;
    supervisor_call(request->api->supervisor, "sandbox.get",
                    json_pack("{s:s}", "sandbox", request->captures[0]), CALL_REPEATABLE,
                    on_sandbox, request);
    return 0;
}

HANDLER(preview_token_revoke_all)
{
    (void)query;
    (void)body;
    (void)err;
    supervisor_call(request->api->supervisor, "sandbox.revoke",
                    json_pack("{s:s}", "sandbox", request->captures[0]), CALL_REPEATABLE,
                    answer_empty, request);
    return 0;
}
