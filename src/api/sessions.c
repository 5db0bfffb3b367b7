/* Sessions: a user's projects, as the seed's table has them. Whose they are is the database's
 * business (db.h): what a caller may not see is not found. */
#include "api/handlers.h"

#include "api/owner.h"
#include "api/session-schema.h"
#include "api/store/sessions.h"
#include "api/store/users.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define PAGE_DEFAULT 64

struct who request_who(const struct http_request *request)
{
    return (struct who){request->who.admin ? DB_SERVICE : DB_USER, request->who.user};
}

int session_captured(const struct http_request *request, char ret_id[DB_USER_SIZE],
                     struct error *err)
{
    if (uuid_parse(request->captures[0], ret_id) == 0)
        return 0;
    return error_set_code(err, ENOENT, "session_not_found", "`%.40s` is not a session id (a UUID)",
                          request->captures[0]);
}

int session_ask(struct http_request *request, session_query *query, db_done_fn done,
                struct error *err)
{
    struct who who = request_who(request);
    char id[DB_USER_SIZE];

    int r = session_captured(request, id, err);
    if (r == 0)
        query(request->api->db, &who, id, done, request);
    return r;
}

void session_not_found(struct http_request *request)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, ENOENT, "session_not_found", "there is no session `%.40s`",
                   request->captures[0]);
    http_fail(request, &err);
}

/* ---- one session ------------------------------------------------------------------------------
 */

static void answer_row(struct http_request *request, unsigned int status,
                       const struct db_result *result, const struct error *err)
{
    if (err)
        http_fail(request, err);
    else if (result->rows == 0)
        session_not_found(request);
    else
        http_reply(request, status, session_from_row(result, 0));
}

static void on_found(void *userdata, const struct db_result *results, const struct error *err)
{
    answer_row(userdata, 200, results, err);
}

static void on_updated(void *userdata, const struct db_result *results, const struct error *err)
{
    answer_row(userdata, 200, results ? &results[1] : NULL, err);
}

HANDLER(session_get)
{
    (void)query;
    (void)body;
    return session_ask(request, session_find, on_found, err);
}

/* JSON null counts as absent in a decoded body; here it means: none. */
static const char *given(const struct http_request *request, const char *name, const char *value)
{
    return json_is_null(json_object_get(request->body_json, name)) ? "" : value;
}

static int read_fields(const struct http_request *request, const struct session_body *body,
                       struct session_fields *ret_fields, struct error *err)
{
    *ret_fields = (struct session_fields){
        .title = body->title,
        .description = given(request, "description", body->description),
        .sandbox_id = given(request, "sandbox_id", body->sandbox_id),
        .thumbnail = given(request, "thumbnail", body->thumbnail),
        .iframe_url = given(request, "iframe_url", body->iframe_url),
        .is_active = json_object_get(request->body_json, "is_active") ? body->is_active : -1,
    };
    if (ret_fields->sandbox_id && *ret_fields->sandbox_id &&
        !sandbox_id_valid(ret_fields->sandbox_id))
        return error_set_field(err, "sandbox_id", "expected 12 characters of a-z and 2-7");
    return 0;
}

HANDLER(session_patch)
{
    struct who who = request_who(request);
    const struct session_body *patch = body;
    struct session_fields fields;
    char id[DB_USER_SIZE];

    (void)query;
    int r = session_captured(request, id, err);
    if (r == 0)
        r = read_fields(request, patch, &fields, err);
    if (r == 0 && patch->user)
        r = error_set_field(err, "user_id", "a session keeps its user");
    if (r == 0 && json_is_null(json_object_get(request->body_json, "title")))
        r = error_set_field(err, "title", "a session has one");
    if (r == 0)
        session_update(request->api->db, &who, id, &fields, now_realtime_ms(), on_updated, request);
    return r;
}

/* ---- creating
 * ------------------------------------------------------------------------------------ */

struct making {
    struct http_request *request;
    struct session_fields fields; /* of the request's body */
    char id[DB_USER_SIZE], user[DB_USER_SIZE];
    bool ensured; /* the user's row */
};

static void insert(struct making *making);

static void on_user(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct making *making = userdata;
    struct error err = ERROR_NONE;

    if (results) {
        insert(making);
        return;
    }
    bool unavailable = failure->err == EAGAIN;
    if (!unavailable)
        error_set_code(&err, EACCES, "user_unknown", "the database has no user `%s`", making->user);
    http_fail(making->request, unavailable ? failure : &err);
    free(making);
}

static void on_inserted(void *userdata, const struct db_result *results, const struct error *err)
{
    struct making *making = userdata;
    struct http_request *request = making->request;

    if (err && str_equal(err->code, "reference") && !making->ensured) {
        making->ensured = true;
        users_ensure(request->api->db, making->user, now_realtime_ms(), on_user, making);
        return;
    }
    if (!err)
        http_header(request, MHD_HTTP_HEADER_LOCATION, "/v1/sessions/%s", making->id);
    free(making);
    answer_row(request, 201, results ? &results[1] : NULL, err);
}

static void insert(struct making *making)
{
    struct who who = request_who(making->request);

    session_insert(making->request->api->db, &who, making->id, making->user, &making->fields,
                   now_realtime_ms(), on_inserted, making);
}

static int choose_user(struct http_request *request, const struct session_body *body,
                       char ret_user[DB_USER_SIZE], struct error *err)
{
    memcpy(ret_user, request->who.user, DB_USER_SIZE);
    if (!body->user)
        return 0;
    if (!request->who.admin)
        return error_set_field(err, "user_id", "only an admin may choose the user");
    return user_of_owner(body->user, ret_user) < 0 ? error_oom(err) : 0;
}

HANDLER(session_create)
{
    const struct session_body *params = body;
    cleanup_free struct making *making = calloc(1, sizeof(*making));

    (void)query;
    if (!making)
        return error_oom(err);
    making->request = request;
    int r = read_fields(request, params, &making->fields, err);
    if (r == 0)
        r = choose_user(request, params, making->user, err);
    if (r == 0 && uuid_new(making->id) < 0)
        r = error_set(err, EIO, "no randomness for a session id");
    if (r == 0)
        insert(TAKE_PTR(making));
    return r;
}

/* ---- lists -------------------------------------------------------------------------------------
 */

/* "UPDATED_AT.ID" of the last one of a page. */
static int parse_cursor(const char *cursor, int64_t *ret_ms, char ret_id[DB_USER_SIZE],
                        struct error *err)
{
    cleanup_free char *copy = strdup(cursor);
    char *dot = copy ? strchr(copy, '.') : NULL;
    uint64_t ms;

    if (!copy)
        return error_oom(err);
    if (dot)
        *dot = '\0';
    if (!dot || parse_u64(copy, 0, INT64_MAX, &ms) < 0 || uuid_parse(dot + 1, ret_id) < 0)
        return error_set_field(err, "cursor", "expected the `next_cursor` of an earlier page");
    *ret_ms = (int64_t)ms;
    return 0;
}

static json_t *next_cursor(const json_t *last)
{
    return json_sprintf("%lld.%s",
                        (long long)json_integer_value(json_object_get(last, "updated_at")),
                        json_string_value(json_object_get(last, "id")));
}

static int64_t page_size(const void *query)
{
    const struct session_list_query *list = query;

    return list->limit ? list->limit : PAGE_DEFAULT;
}

/* One row more than asked for tells that there is another page. */
static void on_listed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;
    cleanup_json json_t *list = results ? json_array() : NULL;
    size_t limit = (size_t)page_size(request->query_data.bytes);

    if (!results) {
        http_fail(request, err);
        return;
    }
    for (size_t i = 0; list && i < results[0].rows && i < limit; i++)
        json_array_append_new(list, session_from_row(&results[0], i));
    json_t *last = json_array_get(list, limit - 1);
    http_reply(request, 200,
               json_pack("{s:O, s:o*}", "sessions", list, "next_cursor",
                         results[0].rows > limit && last ? next_cursor(last) : NULL));
}

HANDLER(session_list_all)
{
    const struct session_list_query *list = query;
    struct who who = request_who(request);
    char id[DB_USER_SIZE];
    int64_t ms = 0;

    (void)body;
    int r = list->cursor ? parse_cursor(list->cursor, &ms, id, err) : 0;
    if (r == 0)
        session_list(request->api->db, &who, ms, list->cursor ? id : NULL, page_size(query),
                     on_listed, request);
    return r;
}

static void on_deduplicated(void *userdata, const struct db_result *results,
                            const struct error *err)
{
    json_t *list = results ? json_array() : NULL;

    if (!results) {
        http_fail(userdata, err);
        return;
    }
    for (size_t i = 0; list && i < results[0].rows; i++)
        json_array_append_new(list, json_string(db_text(&results[0], i, 0)));
    http_reply(userdata, 200, list ? json_pack("{s:o}", "removed", list) : NULL);
}

HANDLER(session_deduplicate_all)
{
    /* of the caller, also when that is an admin */
    struct who who = {DB_USER, request->who.user};

    (void)query;
    (void)body;
    (void)err;
    session_deduplicate(request->api->db, &who, on_deduplicated, request);
    return 0;
}

/* ---- removing -------------------------------------------------------------------------------- */

static void on_sandbox_removed(void *userdata, json_t *result, struct ipc_fds *fds,
                               const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result && !str_equal(err->code, "sandbox_not_found"))
        http_fail(request, err);
    else
        http_reply_empty(request, 204);
}

/* A session may name any sandbox; only its owner's is removed with it. */
static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    json_t *sandbox = json_object_get(result, "sandbox");

    (void)fds;
    (void)err;
    if (!sandbox || !owner_may_see(request, sandbox)) {
        http_reply_empty(request, 204);
        return;
    }
    supervisor_call(request->api->supervisor, "sandbox.remove",
                    json_pack("{s:O}", "sandbox", json_object_get(sandbox, "id")), CALL_REPEATABLE,
                    on_sandbox_removed, request);
}

static void on_deleted(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;
    const struct session_remove_query *query = (const void *)request->query_data.bytes;
    const char *sandbox = results && results[0].rows ? db_text(&results[0], 0, 0) : NULL;

    if (reply_without_row(request, results, 0, err, session_not_found))
        return;
    if (!query->sandbox || !sandbox)
        http_reply_empty(request, 204);
    else
        supervisor_call(request->api->supervisor, "sandbox.get",
                        json_pack("{s:s}", "sandbox", sandbox), CALL_REPEATABLE, on_sandbox,
                        request);
}

HANDLER(session_remove)
{
    (void)query;
    (void)body;
    return session_ask(request, session_delete, on_deleted, err);
}
