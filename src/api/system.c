/* Version and health. healthz: this process serves. readyz: it can do its work, that is the
 * supervisor is connected and the store answers. */
#include "api/handlers.h"

#include "api/db/db.h"
#include "api/supervisor.h"
#include "base/protocol.h"
#include "config.h"

#include <errno.h>

HANDLER(system_version)
{
    (void)query;
    (void)body;
    (void)err;
    http_reply(request, 200,
               json_pack("{s:s,s:s,s:i}", "version", PACKAGE_VERSION, "api", "v1", "protocol",
                         PROTOCOL_VERSION));
    return 0;
}

static void on_doctor(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply(request, 200, json_incref(result));
}

HANDLER(system_doctor)
{
    (void)query;
    (void)body;
    (void)err;
    supervisor_call(request->api->supervisor, "host.doctor", json_object(), CALL_REPEATABLE,
                    on_doctor, request);
    return 0;
}

HANDLER(system_alive)
{
    (void)query;
    (void)body;
    (void)err;
    http_reply(request, 200, json_pack("{s:s}", "status", "ok"));
    return 0;
}

HANDLER(system_ready)
{
    (void)query;
    (void)body;
    if (!supervisor_ready(request->api->supervisor))
        return error_set_code(err, EAGAIN, "supervisor_unavailable",
                              "the supervisor is not connected");
    int r = db_check(request->api->db, err);
    if (r < 0)
        return error_set_code(err, EAGAIN, "store_unavailable", "the database does not answer");
    http_reply(request, 200, json_pack("{s:s}", "status", "ready"));
    return 0;
}
