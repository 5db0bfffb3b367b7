/* The chat messages of a session: appended, never changed. A client names a message by an id of its
 * own, and one that it sends twice is kept once. */
#include "api/handlers.h"

#include "api/session-schema.h"
#include "api/store/sessions.h"
#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define PAGE_DEFAULT 100

struct appending {
    struct http_request *request;
    char session[DB_USER_SIZE], id[DB_USER_SIZE];
};

static bool is_not_there(const struct error *err)
{
    return str_equal(err->code, "forbidden") || str_equal(err->code, "reference");
}

/* The message that an earlier request has brought. */
static void on_known(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct appending *appending = userdata;
    struct http_request *request = appending->request;
    struct error err = failure ? *failure : ERROR_NONE;

    if (results && results[0].rows == 0)
        error_set_code(&err, EEXIST, "message_id_taken", "another session has a message `%s`",
                       appending->id);
    free(appending);
    if (err.err)
        http_fail(request, &err);
    else
        http_reply(request, 200, message_from_row(&results[0], 0));
}

static void on_appended(void *userdata, const struct db_result *results, const struct error *err)
{
    struct appending *appending = userdata;
    struct http_request *request = appending->request;
    struct who who = request_who(request);

    if (err && str_equal(err->code, "duplicate")) {
        message_find(request->api->db, &who, appending->session, appending->id, on_known,
                     appending);
        return;
    }
    free(appending);
    if (err ? is_not_there(err) : results[2].rows == 0)
        session_not_found(request);
    else if (err)
        http_fail(request, err);
    else
        http_reply(request, 201, message_from_row(&results[2], 0));
}

static int choose_id(const struct message_body *body, char ret_id[DB_USER_SIZE], struct error *err)
{
    if (body->id && uuid_parse(body->id, ret_id) < 0)
        return error_set_field(err, "id", "expected a UUID");
    if (!body->id && uuid_new(ret_id) < 0)
        return error_set(err, EIO, "no randomness for a message id");
    return 0;
}

HANDLER(message_append)
{
    const struct message_body *params = body;
    struct who who = request_who(request);
    cleanup_free struct appending *appending = calloc(1, sizeof(*appending));
    cleanup_free char *data = NULL;
    int64_t now_ms = now_realtime_ms();

    (void)query;
    if (!appending)
        return error_oom(err);
    appending->request = request;
    int r = session_captured(request, appending->session, err);
    if (r == 0)
        r = choose_id(params, appending->id, err);
    if (r == 0) {
        data = params->message_data ? json_dumps(params->message_data, JSON_COMPACT) : strdup("{}");
        r = data ? 0 : error_oom(err);
    }
    if (r < 0)
        return r;
    struct message_fields fields = {
        appending->id,  appending->session,
        params->type,   params->content,
        params->sender, params->timestamp ? params->timestamp : now_ms,
        data,
    };
    message_insert(request->api->db, &who, &fields, now_ms, on_appended, TAKE_PTR(appending));
    return 0;
}

static int64_t page_size(const struct message_list_query *query)
{
    return query->limit ? query->limit : PAGE_DEFAULT;
}

static void on_listed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;
    size_t limit = (size_t)page_size((const void *)request->query_data.bytes);
    json_t *list = results ? json_array() : NULL;

    if (!results) {
        http_fail(request, err);
        return;
    }
    if (results[0].rows == 0) {
        json_decref(list);
        session_not_found(request);
        return;
    }
    for (size_t i = 0; list && i < results[1].rows && i < limit; i++)
        json_array_append_new(list, message_from_row(&results[1], i));
    http_reply(request, 200,
               list ? json_pack("{s:o, s:b}", "messages", list, "more", results[1].rows > limit)
                    : NULL);
}

HANDLER(message_list_all)
{
    const struct message_list_query *list = query;
    struct who who = request_who(request);
    char session[DB_USER_SIZE];

    (void)body;
    int r = session_captured(request, session, err);
    if (r == 0 && list->since && list->before)
        r = error_set_field(err, "before", "give either `since` or `before`");
    if (r == 0)
        message_list(request->api->db, &who, session, list->since, list->before, page_size(list),
                     on_listed, request);
    return r;
}
