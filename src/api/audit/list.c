/* GET /v1/audit: the trail in pages, as numbers of records cut them. */
#include "api/handlers.h"

#include "api/audit/audit-schema.h"
#include "api/store/audit.h"
#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#define PAGE_DEFAULT 64

static int64_t page_size(const struct audit_list_query *query)
{
    return query->limit ? query->limit : PAGE_DEFAULT;
}

/* What is no JSON any more is shown as it is: `verify` names it. */
static json_t *row_to_json(const struct db_result *result, size_t i)
{
    struct audit_row row;

    audit_row_read(result, i, &row);
    json_t *record = json_loads(row.record, JSON_REJECT_DUPLICATES, NULL);
    if (!record)
        record = json_pack("{s:I, s:s}", "seq", (json_int_t)row.seq, "record", row.record);
    if (record && json_object_set_new(record, "hash", json_string(row.hash)) < 0) {
        json_decref(record);
        return NULL;
    }
    return record;
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
    for (size_t i = 0; list && i < results[0].rows && i < limit; i++)
        json_array_append_new(list, row_to_json(&results[0], i));
    http_reply(request, 200,
               list ? json_pack("{s:o, s:b}", "records", list, "more", results[0].rows > limit)
                    : NULL);
}

static int target_of(const struct audit_list_query *list, char *target, size_t size,
                     struct error *err)
{
    char session[DB_USER_SIZE];

    target[0] = '\0';
    if (list->sandbox && list->session)
        return error_set_field(err, "?session", "give either `sandbox` or `session`");
    if (list->session && uuid_parse(list->session, session) < 0)
        return error_set_field(err, "?session", "expected a session id (a UUID)");
    if (list->sandbox)
        snprintf(target, size, "sandboxes/%s", list->sandbox);
    if (list->session)
        snprintf(target, size, "sessions/%s", session);
    return 0;
}

HANDLER(audit_list_all)
{
    const struct audit_list_query *list = query;
    char target[64];
    struct audit_search search = {list->subject, target, list->since, list->before,
                                  page_size(list)};

    (void)body;
    int r = target_of(list, target, sizeof(target), err);
    if (r == 0 && list->since && list->before)
        r = error_set_field(err, "?before", "give either `since` or `before`");
    if (!*target)
        search.target = NULL;
    if (r == 0)
        audit_list(request->api->db, &search, on_listed, request);
    return r;
}
