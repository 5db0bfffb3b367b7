/* API keys: made by admins, shown once, revoked by id. */
#include "api/handlers.h"

#include "api/key.h"
#include "api/store/store.h"
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

static json_t *scopes_to_json(unsigned int mask)
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

HANDLER(token_create)
{
    const struct token_body *params = body;
    const char *owner = params->owner ? params->owner : params->name;
    struct store_key key = {.created_at = now_realtime_ms()};
    char text[KEY_TEXT_MAX];

    (void)query;
    int r = parse_scopes(params->scopes, &key.scopes, err);
    if (r == 0)
        r = key_new(text, key.id, err);
    if (r == 0 && key_hash(text, key.hash) < 0)
        r = error_set(err, EIO, "the key could not be hashed");
    snprintf(key.name, sizeof(key.name), "%s", params->name);
    snprintf(key.owner, sizeof(key.owner), "%s", owner);
    if (r == 0)
        r = store_key_add(request->api->store, &key, err);
    if (r < 0)
        return r;
    json_t *answer = key_to_json(&key);
    if (answer)
        json_object_set_new(answer, "token", json_string(text));
    explicit_bzero(text, sizeof(text));
    http_reply(request, 201, answer);
    return 0;
}

static int add_key(void *userdata, const struct store_key *key)
{
    return json_array_append_new(userdata, key_to_json(key)) < 0 ? -ENOMEM : 0;
}

HANDLER(token_list)
{
    cleanup_json json_t *list = json_array();

    (void)query;
    (void)body;
    if (!list)
        return error_oom(err);
    int r = store_key_list(request->api->store, add_key, list, err);
    if (r == 0)
        http_reply(request, 200, json_pack("{s:O}", "tokens", list));
    return r;
}

HANDLER(token_revoke)
{
    (void)query;
    (void)body;
    int r = store_key_revoke(request->api->store, request->captures[0], now_realtime_ms(), err);
    if (r == 0)
        http_reply_empty(request, 204);
    return r;
}
