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

char *preview_token_url(const struct api *api, const json_t *sandbox, unsigned int port,
                        int64_t expires_at, char ret_token[PREVIEW_TOKEN_LENGTH + 1],
                        struct error *err)
{
    const char *id = json_string_value(json_object_get(sandbox, "id"));
    json_int_t epoch = json_integer_value(json_object_get(sandbox, "access_epoch"));
    cleanup_free char *base = id ? sandbox_url(api, id, port) : NULL;

    if (!base) {
        error_oom(err);
        return NULL;
    }
    if (preview_token_make(&api->preview_key, id, expires_at, (uint32_t)epoch, ret_token, err) < 0)
        return NULL;
    char *url = str_format("%s?" PREVIEW_TOKEN_QUERY "=%s", base, ret_token);
    if (!url)
        error_oom(err);
    return url;
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds,
                       const struct error *failure)
{
    struct http_request *request = userdata;
    const struct wanted *wanted = request->state;
    struct error err = *failure;
    int64_t expires_at = now_realtime_ms() / 1000 + wanted->expires_in_s;
    char token[PREVIEW_TOKEN_LENGTH + 1];
    cleanup_free char *url =
        result ? preview_token_url(request->api, json_object_get(result, "sandbox"), wanted->port,
                                   expires_at, token, &err)
               : NULL;

    (void)fds;
    if (url)
        http_reply(request, 201,
                   json_pack("{s:s, s:I, s:s}", "token", token, "expires_at",
                             (json_int_t)expires_at * 1000, "url", url));
    else
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
