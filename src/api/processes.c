/* Processes of a sandbox: list, get, signal. */
#include "api/handlers.h"

#include "api/exec-schema.h"
#include "api/inits.h"
#include "base/str.h"

#include <errno.h>

/* The process id of the path; anything else names no process. */
static int path_process(const struct http_request *request, json_int_t *ret_id, struct error *err)
{
    uint64_t id;

    if (parse_u64(request->captures[1], 1, INT64_MAX, &id) < 0)
        return error_set_code(err, ENOENT, "process_not_found", "there is no process `%.32s`",
                              request->captures[1]);
    *ret_id = (json_int_t)id;
    return 0;
}

HANDLER(process_list)
{
    (void)query;
    (void)body;
    (void)err;
    init_call(request->api, request->captures[0], "process.list", json_object(), -1, answer_whole,
              request);
    return 0;
}

static void on_process(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)fds;
    reply_with_result(userdata, "process", result, err);
}

HANDLER(process_get)
{
    json_int_t id = 0;
    int r = path_process(request, &id, err);

    (void)query;
    (void)body;
    if (r == 0)
        init_call(request->api, request->captures[0], "process.get",
                  json_pack("{s:I}", "process_id", id), -1, on_process, request);
    return r;
}

HANDLER(process_signal)
{
    const struct signal_query *params = query;
    json_int_t id = 0;
    int r = path_process(request, &id, err);

    (void)body;
    if (r == 0)
        init_call(request->api, request->captures[0], "process.signal",
                  json_pack("{s:I,s:s}", "process_id", id, "signal",
                            params->signal ? params->signal : "SIGTERM"),
                  -1, answer_empty, request);
    return r;
}
