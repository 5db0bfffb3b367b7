/* Policies: what sandboxes are held by. They are files of the host; here they are only shown and
 * checked. */
#include "api/handlers.h"

#include "api/supervisor.h"
#include "base/spec.h"

#include <errno.h>

HANDLER(policy_list)
{
    (void)query;
    (void)body;
    (void)err;
    supervisor_call(request->api->supervisor, "policy.list", json_object(), CALL_REPEATABLE,
                    answer_whole, request);
    return 0;
}

static void on_policy(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply(request, 200, json_incref(json_object_get(result, "policy")));
}

HANDLER(policy_get)
{
    const char *name = request->captures[0];

    (void)query;
    (void)body;
    if (!resource_name_valid(name))
        return error_set_code(err, ENOENT, "policy_not_found", "there is no policy `%.64s`", name);
    supervisor_call(request->api->supervisor, "policy.get", json_pack("{s:s}", "name", name),
                    CALL_REPEATABLE, on_policy, request);
    return 0;
}

HANDLER(policy_check)
{
    (void)query;
    (void)body;
    (void)err;
    supervisor_call(request->api->supervisor, "policy.check", json_copy(request->body_json),
                    CALL_REPEATABLE, answer_whole, request);
    return 0;
}
