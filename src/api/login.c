/* Logging in with the password of a built-in account, and asking who one is.
 *
 * POST /v1/auth/login {"user" (1..254 bytes), "password" (1..1024 bytes)}
 *   -> 200 {"token", "expires_at" (ms since 1970), "user": {"id" (UUID), "name"}}
 *   401 login_failed: no such user, another password, or disabled, which are told apart by nothing,
 *       the time that the answer takes included
 *   429 rate_limited with Retry-After: 5 attempts a name at once, then one in 10 s, where those
 * that succeed do not count; 30 an address, then one in 2 s 503 busy: 34 passwords are being
 * checked GET /v1/auth/me -> 200 {"sub" (null: an admin without a name), "role" ("service_role" or
 *   "authenticated"), "scopes", "kind" ("peer", "api_key", "jwt" or "account"), "user_id" (UUID)}
 *
 * The token is a JWT (jwt.h), good for [auth] login_token_ttl_s or until the password is changed.
 */
#include "api/handlers.h"

#include "api/account-schema.h"
#include "api/account/accounts.h"
#include "api/jwt.h"
#include "api/store/accounts.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

struct login {
    struct http_request *request;
    struct store_account account; /* with "" as its id: there is none */
    char handle[ACCOUNT_NAME_MAX + 1];
};

static void login_free(struct login *login)
{
    explicit_bzero(login, sizeof(*login));
    free(login);
}

static json_t *token_to_json(const struct login *login, struct error *err)
{
    const struct api *api = login->request->api;
    int64_t now_s = now_realtime_ms() / 1000;
    int64_t expires_s = now_s + api->config.auth_login_token_ttl_s;
    char *token =
        jwt_issue(api->jwt, login->account.id, login->account.epoch, now_s, expires_s, err);
    json_t *answer = token ? json_pack("{s:s, s:I, s:{s:s, s:s}}", "token", token, "expires_at",
                                       (json_int_t)expires_s * 1000, "user", "id",
                                       login->account.id, "name", login->account.name)
                           : NULL;

    free(token);
    return answer;
}

static void refuse(struct http_request *request)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, EACCES, "login_failed", "the user or the password is wrong");
    http_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"auracode\"");
    http_fail(request, &err);
}

/* Whom the audit trail names; nothing else asks once the answer is there. */
static void name_caller(struct http_request *request, const struct store_account *account)
{
    request->who.kind = AUTH_ACCOUNT;
    snprintf(request->who.owner, sizeof(request->who.owner), "%s", account->id);
}

static void on_hashed(void *userdata, const char *hash, const struct error *failure)
{
    struct login *login = userdata;
    struct http_request *request = login->request;
    struct error err = *failure;
    bool good = hash && password_hash_equal(hash, login->account.hash) && *login->account.id &&
                !login->account.disabled;

    if (good)
        account_tried_well(request->api->accounts, login->handle);
    json_t *answer = good ? token_to_json(login, &err) : NULL;
    if (answer)
        name_caller(request, &login->account);
    login_free(login);
    if (answer)
        http_reply(request, 200, answer);
    else if (err.err)
        http_fail(request, &err);
    else
        refuse(request);
}

static void on_account(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct login *login = userdata;
    struct http_request *request = login->request;
    const struct login_body *body = (const void *)request->body_data.bytes;
    struct error err = failure ? *failure : ERROR_NONE;

    if (results && results[0].rows > 0)
        account_from_row(&results[0], 0, &login->account);
    const char *stored = *login->account.id ? login->account.hash : NULL;
    if (err.err || account_hash_again(request->api->accounts, body->password, stored, on_hashed,
                                      login, &err) < 0) {
        login_free(login);
        http_fail(request, &err);
    }
}

/* Whoever may open the unix socket is trusted, and all its clients have one address. */
static int may_try(struct http_request *request, const char *handle, struct error *err)
{
    uint64_t address = auth_address_key(request);
    unsigned int wait_s = 1;
    int r =
        account_may_try(request->api->accounts, request->transport == HTTP_UNIX ? NULL : &address,
                        handle, &wait_s, err);

    if (r < 0)
        http_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "%u", wait_s);
    return r;
}

HANDLER(auth_login)
{
    const struct login_body *params = body;
    struct login *login = calloc(1, sizeof(*login));

    (void)query;
    if (!login)
        return error_oom(err);
    login->request = request;
    /* a name that nobody may have is one that nobody has */
    if (account_handle(params->user, login->handle, NULL) < 0)
        snprintf(login->handle, sizeof(login->handle), "%s", "");
    int r = may_try(request, login->handle, err);
    if (r < 0)
        login_free(login);
    else
        accounts_find_handle(request->api->db, login->handle, on_account, login);
    return r;
}

HANDLER(auth_me)
{
    const struct principal *who = &request->who;

    (void)query;
    (void)body;
    (void)err;
    http_reply(request, 200,
               json_pack("{s:s?, s:s, s:o, s:s, s:s}", "sub", *who->owner ? who->owner : NULL,
                         "role", who->admin ? "service_role" : "authenticated", "scopes",
                         scopes_to_json(who->scopes), "kind", auth_kind_name(who->kind), "user_id",
                         who->user));
    return 0;
}
