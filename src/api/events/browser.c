/* GET /v1/sandboxes/{id}/browser-errors?since=ID -> {"errors":[{"id","timestamp"
 * (ms),"port","kind", "message", ...}],"gap":bool}: what browsers reported of the sandbox's
 * previews behind `since` (0: all that is kept), the oldest first, in the fields of
 * base/browser-report.h. "gap": there was more, which is not kept any more. Ids are those of the
 * events "browser.error". DELETE /v1/sandboxes/{id}/browser-errors -> 204: forgets them
 *
 * Kept as long as the API runs and the sandbox is there, over restarts of its dev server. */
#include "api/events/browser.h"

#include "api/events/event-schema.h"
#include "api/events/hub.h"
#include "api/handlers.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/log.h"

struct kept {
    int64_t id;
    size_t bytes;
    json_t *object;
};

struct browser_errors {
    struct kept kept[BROWSER_ERRORS_KEPT]; /* a ring */
    size_t first, count, bytes;
    int64_t lost_id; /* of the youngest that had to go; 0: none had to */
};

static struct kept *at(struct browser_errors *errors, size_t i)
{
    return &errors->kept[(errors->first + i) % BROWSER_ERRORS_KEPT];
}

static void drop_first(struct browser_errors *errors)
{
    struct kept *kept = at(errors, 0);

    json_decref(kept->object);
    errors->bytes -= kept->bytes;
    errors->first = (errors->first + 1) % BROWSER_ERRORS_KEPT;
    errors->count--;
}

static void make_room(struct browser_errors *errors, size_t bytes)
{
    while (errors->count > 0 &&
           (errors->count == BROWSER_ERRORS_KEPT || errors->bytes + bytes > BROWSER_BYTES_KEPT)) {
        errors->lost_id = at(errors, 0)->id;
        drop_first(errors);
    }
}

void browser_errors_keep(struct browser_errors **errors, int64_t id, int64_t timestamp,
                         const json_t *data)
{
    json_t *object =
        json_pack("{s:I, s:I}", "id", (json_int_t)id, "timestamp", (json_int_t)timestamp);

    if (!*errors)
        *errors = calloc(1, sizeof(**errors));
    if (!*errors || !object || json_object_update(object, (json_t *)data) < 0) {
        log_warning("a browser's error is not kept: out of memory");
        json_decref(object);
        return;
    }
    size_t bytes = json_dumpb(object, NULL, 0, JSON_COMPACT);
    make_room(*errors, bytes);
    *at(*errors, (*errors)->count++) = (struct kept){id, bytes, object};
    (*errors)->bytes += bytes;
}

json_t *browser_errors_list(const struct browser_errors *errors, int64_t since, bool *ret_gap)
{
    json_t *list = json_array();

    *ret_gap = errors && errors->lost_id > since;
    for (size_t i = 0; errors && list && i < errors->count; i++) {
        const struct kept *kept = at((struct browser_errors *)errors, i);
        if (kept->id > since)
            json_array_append(list, kept->object);
    }
    return list;
}

void browser_errors_clear(struct browser_errors *errors)
{
    while (errors && errors->count > 0)
        drop_first(errors);
    if (errors)
        errors->lost_id = 0;
}

void browser_errors_free(struct browser_errors *errors)
{
    browser_errors_clear(errors);
    free(errors);
}

/* ---- the routes
 * ----------------------------------------------------------------------------------------- */

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    const struct event_box *box = event_hub_find(request->api->events, request->captures[0]);
    const struct browser_query *query = (const void *)request->query_data.bytes;
    bool gap;

    (void)fds;
    if (!result) {
        http_fail(request, err);
        return;
    }
    json_t *list = browser_errors_list(box ? box->browser : NULL, query->since, &gap);
    http_reply(request, 200,
               list ? json_pack("{s:o, s:b}", "errors", list, "gap", (int)gap) : NULL);
}

static void on_sandbox_to_clear(void *userdata, json_t *result, struct ipc_fds *fds,
                                const struct error *err)
{
    struct http_request *request = userdata;
    const struct event_box *box = event_hub_find(request->api->events, request->captures[0]);

    if (result && box)
        browser_errors_clear(box->browser);
    answer_empty(request, result, fds, err);
}

static void ask(struct http_request *request, rpc_reply_fn reply)
{
    supervisor_call(request->api->supervisor, "sandbox.get",
                    json_pack("{s:s}", "sandbox", request->captures[0]), CALL_REPEATABLE, reply,
                    request);
}

HANDLER(browser_error_list)
{
    (void)query;
    (void)body;
    (void)err;
    ask(request, on_sandbox);
    return 0;
}

HANDLER(browser_error_clear)
{
    (void)query;
    (void)body;
    (void)err;
    ask(request, on_sandbox_to_clear);
    return 0;
}
