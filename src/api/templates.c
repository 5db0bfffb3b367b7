/* Templates: what sandboxes are made from. */
#include "api/handlers.h"

#include "api/supervisor.h"
#include "api/template-schema.h"
#include "base/spec.h"

#include <errno.h>

HANDLER(template_list)
{
    (void)query;
    (void)body;
    (void)err;
    supervisor_call(request->api->supervisor, "template.list", json_object(), CALL_REPEATABLE,
                    answer_whole, request);
    return 0;
}

static void on_created(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply(request, 201, json_incref(json_object_get(result, "template")));
}

HANDLER(template_create)
{
    const struct template_body *params = body;

    (void)query;
    if (!resource_name_valid(params->name))
        return error_set_field(err, "name", "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
    supervisor_call(request->api->supervisor, "template.create", json_copy(request->body_json),
                    CALL_ONCE, on_created, request);
    return 0;
}

HANDLER(template_remove)
{
    const char *name = request->captures[0];

    (void)query;
    (void)body;
    if (!resource_name_valid(name))
        return error_set_code(err, ENOENT, "template_not_found", "there is no template `%.64s`",
                              name);
    supervisor_call(request->api->supervisor, "template.remove", json_pack("{s:s}", "name", name),
                    CALL_REPEATABLE, answer_empty, request);
    return 0;
}
