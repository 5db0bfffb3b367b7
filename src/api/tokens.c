/* API keys: made by admins, shown once, revoked by id. */
#include "api/handlers.h"

#include "api/key.h"
#include "api/store/keys.h"
#include "api/template-schema.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned int scopes; /* a scope brings those below it */
} scopes[] = {
    {"admin", SCOPE_ADMIN | SCOPE_SANDBOXES | SCOPE_READ},
    {"sandboxes", SCOPE_SANDBOXES | SCOPE_READ},
    {"read", SCOPE_READ},
};

static int parse_scopes(const json_t *list, unsigned int *ret_scopes, struct error *err)
{
    unsigned int mask = 0;
    size_t i;
    json_t *name;

    json_array_foreach(list, i, name)
    {
        size_t known = 0;
        while (known < ELEMENTS(scopes) && !str_equal(scopes[known].name, json_string_value(name)))
            known++;
        if (known == ELEMENTS(scopes))
            return error_set_field(err, "scopes", "expected admin, sandboxes or read");
        mask |= scopes[known].scopes;
    }
    *ret_scopes = mask;
    return 0;
}

json_t *scopes_to_json(unsigned int mask)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < ELEMENTS(scopes); i++)
        if ((mask & scopes[i].scopes) == scopes[i].scopes)
            json_array_append_new(list, json_string(scopes[i].name));
    return list;
}

static json_t *key_to_json(const struct store_key *key)
{
    return json_pack("{s:s,s:s,s:s,s:o,s:I,s:I}", "id", key->id, "name", key->name, "owner",
                     key->owner, "scopes", scopes_to_json(key->scopes), "created_at",
                     (json_int_t)key->created_at, "last_used_at", (json_int_t)key->last_used_at);
}

/* Of a key that is being added. */
struct addition {
    struct http_request *request;
    struct store_key key;
    char text[KEY_TEXT_MAX];
};

static void on_added(void *userdata, const struct db_result *results, const struct error *err)
{
    struct addition *addition = userdata;
    struct http_request *request = addition->request;
    json_t *answer = results ? key_to_json(&addition->key) : NULL;

    if (answer)
        json_object_set_new(answer, "token", json_string(addition->text));
    explicit_bzero(addition->text, sizeof(addition->text));
    free(addition);
    if (results)
        http_reply(request, 201, answer);
    else
        http_fail(request, err);
}

HANDLER(token_create)
{
    const struct token_body *params = body;
    cleanup_free struct addition *addition = calloc(1, sizeof(*addition));

    (void)query;
    if (!addition)
        return error_oom(err);
    struct store_key *key = &addition->key;
    addition->request = request;
    key->created_at = now_realtime_ms();
    snprintf(key->name, sizeof(key->name), "%s", params->name);
    snprintf(key->owner, sizeof(key->owner), "%s", params->owner ? params->owner : params->name);
    int r = parse_scopes(params->scopes, &key->scopes, err);
    if (r == 0)
        r = key_new(addition->text, key->id, err);
    if (r == 0 && key_hash(addition->text, key->hash) < 0)
        r = error_set(err, EIO, "the key could not be hashed");
    if (r == 0)
        keys_add(request->api->db, key, on_added, TAKE_PTR(addition));
    return r;
}

static void on_listed(void *userdata, const struct db_result *results, const struct error *err)
{
    json_t *list = results ? json_array() : NULL;
    struct store_key key;

    if (!results) {
        http_fail(userdata, err);
        return;
    }
    for (size_t i = 0; list && i < results[0].rows; i++) {
        key_from_row(&results[0], i, &key);
        json_array_append_new(list, key_to_json(&key));
    }
    http_reply(userdata, 200, list ? json_pack("{s:o}", "tokens", list) : NULL);
}

HANDLER(token_list)
{
    (void)query;
    (void)body;
    (void)err;
    keys_list(request->api->db, on_listed, request);
    return 0;
}

static void on_revoked(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct http_request *request = userdata;
    struct error err = failure ? *failure : ERROR_NONE;

    if (results && results[0].rows == 0)
        error_set_code(&err, ENOENT, "token_not_found", "there is no API key `%.32s`",
                       request->captures[0]);
    http_abort_credential(request->api->http, request->captures[0]);
    if (err.err)
        http_fail(request, &err);
    else
        http_reply_empty(request, 204);
}

HANDLER(token_revoke)
{
    (void)query;
    (void)body;
    (void)err;
    keys_revoke(request->api->db, request->captures[0], now_realtime_ms(), on_revoked, request);
    return 0;
}
