/* GET /v1/sandboxes. The supervisor lists by id in pages; the filters and the caller's view are
 * applied here, page after page, until the client's page is full. The cursor is the last id looked
 * at, so it stays valid whatever is created or removed meanwhile. */
#include "api/handlers.h"

#include "api/owner.h"
#include "api/sandbox-schema.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define SUPERVISOR_PAGE 64
#define DEFAULT_LIMIT   64

struct listing {
    struct http_request *request;
    const struct sandbox_list_query *query;
    size_t limit;
    json_t *found;
    char last[SANDBOX_ID_LENGTH + 1]; /* looked at */
};

static void listing_free(void *state)
{
    struct listing *listing = state;

    json_decref(listing->found);
    free(listing);
}

static bool label_matches(const json_t *sandbox, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    size_t length = equals ? (size_t)(equals - wanted) : strlen(wanted);
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(sandbox, "labels"), name, value)
    {
        if (strlen(name) == length && strncmp(name, wanted, length) == 0)
            return !equals || str_equal(json_string_value(value), equals + 1);
    }
    return false;
}

static bool passes(const struct listing *listing, const json_t *sandbox)
{
    const struct sandbox_list_query *query = listing->query;
    size_t i;
    json_t *label;

    if (!owner_may_see(listing->request, sandbox))
        return false;
    if (query->state &&
        !str_equal(json_string_value(json_object_get(sandbox, "state")), query->state))
        return false;
    json_array_foreach(query->labels, i, label)
    {
        if (!label_matches(sandbox, json_string_value(label)))
            return false;
    }
    return true;
}

static void finish(struct listing *listing, bool more)
{
    http_reply(listing->request, 200,
               json_pack("{s:O,s:s?}", "sandboxes", listing->found, "next_cursor",
                         more ? listing->last : NULL));
}

/* True when the client's page is full with entries left over. */
static bool take(struct listing *listing, json_t *page)
{
    size_t i;
    json_t *sandbox;

    json_array_foreach(page, i, sandbox)
    {
        const char *id = json_string_value(json_object_get(sandbox, "id"));
        if (json_array_size(listing->found) >= listing->limit)
            return true;
        if (!id || !sandbox_id_valid(id))
            continue;
        memcpy(listing->last, id, sizeof(listing->last));
        if (passes(listing, sandbox))
            json_array_append_new(listing->found,
                                  sandbox_to_client(listing->request->api, sandbox));
    }
    return false;
}

static void ask(struct listing *listing);

static void on_page(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct listing *listing = userdata;
    json_t *page = json_object_get(result, "sandboxes");
    bool more = json_is_true(json_object_get(result, "more")) && json_array_size(page) > 0;

    (void)fds;
    if (!result) {
        http_fail(listing->request, err);
        return;
    }
    bool left_over = take(listing, page);
    if (left_over || !more || json_array_size(listing->found) >= listing->limit)
        finish(listing, left_over || more);
    else
        ask(listing);
}

static void ask(struct listing *listing)
{
    json_t *params = json_pack("{s:i}", "limit", SUPERVISOR_PAGE);

    if (params && listing->last[0])
        json_object_set_new(params, "after", json_string(listing->last));
    supervisor_call(listing->request->api->supervisor, "sandbox.list", params, CALL_REPEATABLE,
                    on_page, listing);
}

HANDLER(sandbox_list)
{
    const struct sandbox_list_query *params = query;
    struct listing *listing = calloc(1, sizeof(*listing));

    (void)body;
    if (!listing)
        return error_oom(err);
    request->state = listing;
    request->state_free = listing_free;
    *listing = (struct listing){.request = request,
                                .query = params,
                                .limit = params->limit ? (size_t)params->limit : DEFAULT_LIMIT,
                                .found = json_array()};
    if (!listing->found)
        return error_oom(err);
    if (params->cursor)
        memcpy(listing->last, params->cursor, sizeof(listing->last));
    ask(listing);
    return 0;
}
