/* /v1/webhooks: whose they are is part of each question to the database; another's is not found.
 * The secret is told once, when it is made. */
#include "api/handlers.h"

#include "api/key.h"
#include "api/store/users.h"
#include "api/store/webhooks.h"
#include "api/webhooks/webhook-schema.h"
#include "api/webhooks/webhooks.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define PAGE_DEFAULT 64

static const char *const types[] = {"sandbox.state", "dev_server.state", "ports", "process.exit",
                                    "events.dropped"};

static struct webhook_asker asker_of(const struct http_request *request)
{
    return (struct webhook_asker){request->who.owner, request->who.admin};
}

static void not_found(struct http_request *request)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, ENOENT, "webhook_not_found", "there is no webhook `%.40s`",
                   request->captures[0]);
    http_fail(request, &err);
}

/* `secret` NULL: it is not told. */
static json_t *to_json(const struct webhook *webhook, const char *secret)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:I, s:s*}", "id", webhook->id, "owner",
                     webhook->owner, "url", webhook->url, "events",
                     json_loads(webhook->events, 0, NULL), "active", webhook->active, "created_at",
                     (json_int_t)webhook->created_at, "secret", secret);
}

/* ---- what is given ----------------------------------------------------------------------------
 */

static void url_cleanup(CURLU **url)
{
    curl_url_cleanup(*url);
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK && *text;

    curl_free(text);
    return has;
}

static int check_url(const char *text, struct error *err)
{
    __attribute__((cleanup(url_cleanup))) CURLU *url = curl_url();

    if (!url)
        return error_oom(err);
    if ((!str_starts(text, "http://") && !str_starts(text, "https://")) ||
        curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) != CURLUE_OK ||
        !has_part(url, CURLUPART_HOST))
        return error_set_field(err, "url",
                               "expected http://HOST[:PORT]/PATH or https://…, without a user");
    return 0;
}

static int check_events(const json_t *events, struct error *err)
{
    size_t i;
    json_t *event;

    json_array_foreach(events, i, event)
    {
        size_t known = 0;
        while (known < ELEMENTS(types) && !str_equal(types[known], json_string_value(event)))
            known++;
        if (known == ELEMENTS(types))
            return error_set_field(err, "events",
                                   "expected sandbox.state, dev_server.state, ports, process.exit "
                                   "or events.dropped");
    }
    return 0;
}

/* JSON text of the types; "[]" for none given. */
static char *events_text(const json_t *events)
{
    return events ? json_dumps(events, JSON_COMPACT) : strdup("[]");
}

static int check(const struct webhook_body *body, struct error *err)
{
    int r = body->url ? check_url(body->url, err) : 0;

    return r == 0 ? check_events(body->events, err) : r;
}

static char *make_secret(void)
{
    unsigned char random[32];
    char hex[KEY_HASH_SIZE];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random) ||
        digest_hex(random, sizeof(random), hex) < 0)
        return NULL;
    return str_format("whsec_%s", hex);
}

/* ---- making -----------------------------------------------------------------------------------
 */

struct making {
    struct http_request *request;
    char id[WEBHOOK_ID_SIZE];
    char *secret, *events;
    struct webhook row;
};

static void making_free(void *state)
{
    struct making *making = state;

    free(making->secret);
    free(making->events);
    free(making);
}

static void on_made(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct making *making = userdata;
    struct http_request *request = making->request;
    struct error err = failure ? *failure : ERROR_NONE;

    if (results && results[0].rows == 0)
        error_set_code(&err, EBUSY, "webhooks_limit", "an owner has %d webhooks at most",
                       WEBHOOKS_MAX);
    if (err.err) {
        http_fail(request, &err);
        return;
    }
    webhooks_changed(request->api->webhooks);
    http_header(request, MHD_HTTP_HEADER_LOCATION, "/v1/webhooks/%s", making->id);
    http_reply(request, 201, to_json(&making->row, making->secret));
}

HANDLER(webhook_create)
{
    const struct webhook_body *params = body;
    struct making *making = calloc(1, sizeof(*making));

    (void)query;
    if (!making)
        return error_oom(err);
    request->state = making;
    request->state_free = making_free;
    int r = check(params, err);
    if (r < 0)
        return r;
    making->request = request;
    making->secret = params->secret ? strdup(params->secret) : make_secret();
    making->events = events_text(params->events);
    if (!making->secret || !making->events || uuid_new(making->id) < 0)
        return error_oom(err);
    bool inactive = json_is_false(json_object_get(request->body_json, "active"));
    making->row = (struct webhook){
        .id = making->id,
        .owner = request->who.owner,
        .user = request->who.user,
        .everything = request->who.admin,
        .url = params->url,
        .secret = making->secret,
        .events = making->events,
        .active = !inactive,
        .created_at = now_realtime_ms(),
    };
    webhook_add(request->api->db, &making->row, on_made, making);
    return 0;
}

/* ---- reading, changing, removing --------------------------------------------------------------
 */

static void on_listed(void *userdata, const struct db_result *results, const struct error *err)
{
    json_t *list = results ? json_array() : NULL;
    struct webhook row;

    if (!results) {
        http_fail(userdata, err);
        return;
    }
    for (size_t i = 0; list && i < results[0].rows; i++) {
        webhook_read(&results[0], i, &row);
        json_array_append_new(list, to_json(&row, NULL));
    }
    http_reply(userdata, 200, list ? json_pack("{s:o}", "webhooks", list) : NULL);
}

HANDLER(webhook_list_all)
{
    struct webhook_asker asker = asker_of(request);

    (void)query;
    (void)body;
    (void)err;
    webhook_list(request->api->db, &asker, NULL, on_listed, request);
    return 0;
}

static void on_one(void *userdata, const struct db_result *results, const struct error *err)
{
    struct webhook row;

    if (reply_without_row(userdata, results, 0, err, not_found))
        return;
    webhook_read(&results[0], 0, &row);
    http_reply(userdata, 200, to_json(&row, NULL));
}

HANDLER(webhook_get)
{
    struct webhook_asker asker = asker_of(request);

    (void)query;
    (void)body;
    (void)err;
    webhook_list(request->api->db, &asker, request->captures[0], on_one, request);
    return 0;
}

static void on_changed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;

    if (results && results[0].rows > 0)
        webhooks_changed(request->api->webhooks);
    on_one(userdata, results, err);
}

HANDLER(webhook_patch_one)
{
    const struct webhook_body *params = body;
    struct webhook_asker asker = asker_of(request);
    const json_t *active = json_object_get(request->body_json, "active");
    bool events_given = json_object_get(request->body_json, "events") != NULL;
    cleanup_free char *events = NULL;

    (void)query;
    int r = check(params, err);
    if (r < 0)
        return r;
    if (events_given && !(events = events_text(params->events)))
        return error_oom(err);
    struct webhook_patch patch = {params->url, params->secret, events,
                                  json_is_boolean(active) ? json_is_true(active) : -1};
    webhook_update(request->api->db, &asker, request->captures[0], &patch, on_changed, request);
    return 0;
}

static void on_removed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;

    if (reply_without_row(request, results, 0, err, not_found))
        return;
    webhooks_changed(request->api->webhooks);
    http_reply_empty(request, 204);
}

HANDLER(webhook_remove)
{
    struct webhook_asker asker = asker_of(request);

    (void)query;
    (void)body;
    (void)err;
    webhook_delete(request->api->db, &asker, request->captures[0], on_removed, request);
    return 0;
}

/* ---- what failed ------------------------------------------------------------------------------
 */

static int64_t page_size(const struct webhook_failures_query *query)
{
    return query->limit ? query->limit : PAGE_DEFAULT;
}

static json_t *failure_to_json(const struct delivery *delivery)
{
    return json_pack("{s:I, s:s, s:I, s:I, s:s, s:I, s:o}", "delivery", (json_int_t)delivery->id,
                     "type", delivery->type, "attempts", (json_int_t)delivery->attempts, "status",
                     (json_int_t)delivery->status, "error", delivery->error, "created_at",
                     (json_int_t)delivery->created_at, "event",
                     json_loads(delivery->body, 0, NULL));
}

static void on_failures(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;
    size_t limit = (size_t)page_size((const void *)request->query_data.bytes);
    json_t *list = results && results[0].rows ? json_array() : NULL;
    struct delivery delivery;

    if (!results) {
        http_fail(request, err);
        return;
    }
    if (results[0].rows == 0) {
        not_found(request);
        return;
    }
    for (size_t i = 0; list && i < results[1].rows && i < limit; i++) {
        delivery_read(&results[1], i, &delivery);
        json_array_append_new(list, failure_to_json(&delivery));
    }
    http_reply(request, 200,
               list ? json_pack("{s:o, s:b}", "failures", list, "more", results[1].rows > limit)
                    : NULL);
}

HANDLER(webhook_failures)
{
    const struct webhook_failures_query *params = query;
    struct webhook_asker asker = asker_of(request);

    (void)body;
    (void)err;
    deliveries_dead(request->api->db, &asker, request->captures[0], params->before,
                    page_size(params), on_failures, request);
    return 0;
}

static void on_revived(void *userdata, const struct db_result *results, const struct error *err)
{
    struct http_request *request = userdata;

    if (reply_without_row(request, results, 0, err, not_found))
        return;
    webhooks_wake(request->api->webhooks);
    http_reply(request, 200, json_pack("{s:I}", "redelivered", (json_int_t)results[1].rows));
}

HANDLER(webhook_redeliver)
{
    const struct webhook_redeliver_body *params = body;
    struct webhook_asker asker = asker_of(request);

    (void)query;
    (void)err;
    deliveries_revive(request->api->db, &asker, request->captures[0], params->delivery,
                      now_realtime_ms(), on_revived, request);
    return 0;
}
