/* Built-in accounts, for admins. A user is {"id" (UUID), "name", "disabled", "created_at",
 * "changed_at" (ms since 1970)}.
 *
 * POST /v1/users {"name" (1..254 characters of ASCII, unique in lower case), "password" (8..1024
 *   bytes)} -> 201 the user; 409 user_exists
 * GET /v1/users?name= -> 200 {"users": [...]}, all of them or the one of that name
 * PATCH /v1/users/{user_id} {"password"?, "disabled"?} -> 200 the user; each ends all its tokens
 * and what they have open DELETE /v1/users/{user_id} -> 204; its sessions and sandboxes stay, for
 * an admin to remove 404 user_not_found, 503 busy: 34 passwords are being hashed */
#include "api/handlers.h"

#include "api/account-schema.h"
#include "api/account/accounts.h"
#include "api/store/accounts.h"
#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

static json_t *user_to_json(const struct db_result *result, size_t row)
{
    struct store_account account;

    account_from_row(result, row, &account);
    explicit_bzero(account.hash, sizeof(account.hash));
    return json_pack("{s:s, s:s, s:b, s:I, s:I}", "id", account.id, "name", account.name,
                     "disabled", account.disabled, "created_at", (json_int_t)account.created_at,
                     "changed_at", (json_int_t)account.changed_at);
}

static void not_found(struct http_request *request)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, ENOENT, "user_not_found", "there is no user `%.40s`",
                   request->captures[0]);
    http_fail(request, &err);
}

/* ---- adding -----------------------------------------------------------------------------------
 */

struct addition {
    struct http_request *request;
    struct store_account account;
};

static void addition_free(struct addition *addition)
{
    explicit_bzero(addition, sizeof(*addition));
    free(addition);
}

static void on_added(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct http_request *request = userdata;
    const struct user_body *body = (const void *)request->body_data.bytes;
    struct error err = failure ? *failure : ERROR_NONE;

    if (str_equal(err.code, "duplicate"))
        error_set_code(&err, EEXIST, "user_exists", "there is a user `%s`", body->name);
    if (err.err)
        http_fail(request, &err);
    else
        http_reply(request, 201, user_to_json(&results[0], 0));
}

static void on_new_hash(void *userdata, const char *hash, const struct error *err)
{
    struct addition *addition = userdata;
    struct http_request *request = addition->request;

    if (hash) {
        snprintf(addition->account.hash, sizeof(addition->account.hash), "%s", hash);
        accounts_add(request->api->db, &addition->account, on_added, request);
    } else {
        http_fail(request, err);
    }
    addition_free(addition);
}

HANDLER(user_create)
{
    const struct user_body *params = body;
    struct addition *addition = calloc(1, sizeof(*addition));
    char handle[ACCOUNT_NAME_MAX + 1];

    (void)query;
    if (!addition)
        return error_oom(err);
    addition->request = request;
    addition->account.created_at = now_realtime_ms();
    int r = account_handle(params->name, handle, err);
    if (r == 0 && uuid_new(addition->account.id) < 0)
        r = error_set(err, EIO, "no randomness for a user's id");
    if (r == 0) {
        memcpy(addition->account.name, params->name, strlen(params->name) + 1);
        r = account_hash_new(request->api->accounts, params->password, on_new_hash, addition, err);
    }
    if (r < 0)
        addition_free(addition);
    return r;
}

/* ---- changing ---------------------------------------------------------------------------------
 */

struct change {
    struct http_request *request;
    char id[DB_USER_SIZE];
};

/* `{user_id}` of the path. */
static struct change *change_new(struct http_request *request, struct error *err)
{
    struct change *change = calloc(1, sizeof(*change));

    if (!change) {
        error_oom(err);
    } else if (uuid_parse(request->captures[0], change->id) < 0) {
        error_set_code(err, ENOENT, "user_not_found", "`%.40s` is not a user's id (a UUID)",
                       request->captures[0]);
        free(TAKE_PTR(change));
    } else {
        change->request = request;
    }
    return change;
}

/* Also when the outcome is not known. Whoever asks for a change need not be another: its own answer
 * waits for none of what is ended. */
static struct http_request *change_done(struct change *change)
{
    struct http_request *request = change->request;

    account_changed(request->api->accounts, change->id, true);
    free(change);
    return request;
}

static void on_changed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = change_done(userdata);

    if (!reply_without_row(request, results, 0, err, not_found))
        http_reply(request, 200, user_to_json(&results[0], 0));
}

static void write_change(struct change *change, const char *hash)
{
    struct http_request *request = change->request;
    const struct user_body *body = (const void *)request->body_data.bytes;
    int disabled =
        json_is_boolean(json_object_get(request->body_json, "disabled")) ? body->disabled : -1;

    account_changed(request->api->accounts, change->id, false);
    accounts_change(request->api->db, change->id, hash, disabled, now_realtime_ms(), on_changed,
                    change);
}

static void on_changed_hash(void *userdata, const char *hash, const struct error *err)
{
    struct change *change = userdata;

    if (hash) {
        write_change(change, hash);
        return;
    }
    http_fail(change->request, err);
    free(change);
}

HANDLER(user_patch)
{
    const struct user_body *params = body;
    struct change *change = NULL;

    (void)query;
    if (!params->password && !json_is_boolean(json_object_get(request->body_json, "disabled")))
        return error_set(err, EINVAL, "expected `password`, `disabled` or both");
    change = change_new(request, err);
    if (!change)
        return -err->err;
    if (!params->password) {
        write_change(change, NULL);
        return 0;
    }
    int r =
        account_hash_new(request->api->accounts, params->password, on_changed_hash, change, err);
    if (r < 0)
        free(change);
    return r;
}

static void on_removed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = change_done(userdata);

    if (!reply_without_row(request, results, 0, err, not_found))
        http_reply_empty(request, 204);
}

HANDLER(user_remove)
{
    struct change *change = change_new(request, err);

    (void)query;
    (void)body;
    if (!change)
        return -err->err;
    account_changed(request->api->accounts, change->id, false);
    accounts_remove(request->api->db, change->id, on_removed, change);
    return 0;
}

/* ---- lists ------------------------------------------------------------------------------------
 */

static void on_listed(void *userdata, const struct db_result *results, const struct error *err)
{
    json_t *list = results ? json_array() : NULL;

    if (!results) {
        http_fail(userdata, err);
        return;
    }
    for (size_t i = 0; list && i < results[0].rows; i++)
        json_array_append_new(list, user_to_json(&results[0], i));
    http_reply(userdata, 200, list ? json_pack("{s:o}", "users", list) : NULL);
}

HANDLER(user_list)
{
    const struct user_query *params = query;
    char handle[ACCOUNT_NAME_MAX + 1];

    (void)body;
    if (!params->name) {
        accounts_list(request->api->db, on_listed, request);
        return 0;
    }
    int r = account_handle(params->name, handle, err);
    if (r == 0)
        accounts_find_handle(request->api->db, handle, on_listed, request);
    return r;
}
