/* GET /v1/audit/verify: reads the chain from its anchor on, a page a turn of the loop, and stops at
 * the first record that is not what was written. What is cut off at the end shows as long as the
 * program that wrote it runs; what is cut off at the start shows because a record of pruning says
 * how much of it may be gone. */
#include "api/handlers.h"

#include "api/audit/audit.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define PAGE 500

struct verify {
    struct http_request *request; /* NULL: answered; goes with the database's answer */
    struct api *api;
    bool asking;             /* the database */
    struct audit_place at;   /* good up to there */
    int64_t anchor, through; /* removed up to there; said to be */
    int64_t goal;            /* the chain has that record */
    int64_t records;
    int64_t bad; /* 0: none so far */
    char reason[160];
    sd_event_source *next;
};

static void verify_free(struct verify *verify)
{
    audit_release(verify->api->audit);
    sd_event_source_disable_unref(verify->next);
    free(verify);
}

static void end(struct verify *verify, const struct error *err)
{
    struct http_request *request = TAKE_PTR(verify->request);

    request->state = NULL;
    if (err)
        http_fail(request, err);
    else if (verify->bad)
        http_reply(request, 200,
                   json_pack("{s:b, s:I, s:I, s:s}", "ok", false, "records",
                             (json_int_t)verify->records, "first_bad", (json_int_t)verify->bad,
                             "reason", verify->reason));
    else
        http_reply(request, 200,
                   json_pack("{s:b, s:I, s:{s:I, s:s}}", "ok", true, "records",
                             (json_int_t)verify->records, "last", "seq", (json_int_t)verify->at.seq,
                             "hash", verify->at.hash));
    if (!verify->asking)
        verify_free(verify);
}

__attribute__((format(printf, 3, 4))) static void find_bad(struct verify *verify, int64_t seq,
                                                           const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(verify->reason, sizeof(verify->reason), format, arguments);
    va_end(arguments);
    verify->bad = seq;
}

static bool member_is(const json_t *record, const char *name, const char *text)
{
    const char *value = json_string_value(json_object_get(record, name));

    return strcmp(value ? value : "", text ? text : "") == 0;
}

/* What is searched by is what the record says. */
static bool is_filed_well(const struct audit_row *row, const json_t *record)
{
    return json_integer_value(json_object_get(record, "seq")) == row->seq &&
           json_integer_value(json_object_get(record, "time")) == row->time_ms &&
           member_is(record, "subject", row->subject) && member_is(record, "target", row->target);
}

static void check_row(struct verify *verify, const struct audit_row *row)
{
    cleanup_json json_t *record = row->record ? json_loads(row->record, 0, NULL) : NULL;
    char hash[KEY_HASH_SIZE];

    if (row->seq != verify->at.seq + 1) {
        find_bad(verify, verify->at.seq + 1, "record %lld is missing",
                 (long long)verify->at.seq + 1);
        return;
    }
    if (!row->record || audit_hash(verify->at.hash, row->record, hash) < 0 ||
        !str_equal(hash, row->hash)) {
        find_bad(verify, row->seq, "record %lld was changed, or does not follow the one before",
                 (long long)row->seq);
        return;
    }
    if (!is_filed_well(row, record)) {
        find_bad(verify, row->seq,
                 "record %lld is filed under a time, subject or target that is "
                 "not its own",
                 (long long)row->seq);
        return;
    }
    verify->at.seq = row->seq;
    memcpy(verify->at.hash, hash, sizeof(hash));
    verify->records++;
    int64_t through = json_integer_value(json_object_get(record, "through"));
    if (through > verify->through && member_is(record, "operation", AUDIT_PRUNE))
        verify->through = through;
}

static void check_ends(struct verify *verify)
{
    if (verify->at.seq < verify->goal)
        find_bad(verify, verify->at.seq + 1, "record %lld is missing, and all after it",
                 (long long)verify->at.seq + 1);
    else if (verify->anchor > verify->through)
        find_bad(verify, verify->anchor,
                 "the records up to %lld are gone, but no record says that they were pruned",
                 (long long)verify->anchor);
}

/* False: it is over. */
static bool take(struct verify *verify, const struct error *err)
{
    verify->asking = false;
    if (!verify->request)
        verify_free(verify);
    else if (err)
        end(verify, err);
    else
        return true;
    return false;
}

static void on_page(void *userdata, const struct db_result *results, const struct error *err)
{
    struct verify *verify = userdata;
    struct audit_row row;

    if (!take(verify, err))
        return;
    size_t rows = results[0].rows;
    for (size_t i = 0; i < rows && !verify->bad; i++) {
        audit_row_read(&results[0], i, &row);
        check_row(verify, &row);
    }
    if (!verify->bad && rows == PAGE + 1) {
        sd_event_source_set_enabled(verify->next, SD_EVENT_ONESHOT);
        return;
    }
    if (!verify->bad)
        check_ends(verify);
    end(verify, NULL);
}

static int on_next(sd_event_source *source, void *userdata)
{
    struct verify *verify = userdata;
    struct audit_search search = {.since = verify->at.seq, .limit = PAGE};

    (void)source;
    verify->asking = true;
    audit_list(verify->api->db, &search, on_page, verify);
    return 0;
}

static void on_anchor(void *userdata, const struct db_result *results, const struct error *err)
{
    struct verify *verify = userdata;

    if (!take(verify, err))
        return;
    audit_place_read(&results[2], &verify->at);
    verify->anchor = verify->at.seq;
    sd_event_source_set_enabled(verify->next, SD_EVENT_ONESHOT);
}

static void abort_verify(struct http_request *request)
{
    struct verify *verify = request->state;
    struct error err = ERROR_NONE;

    error_set_code(&err, ECONNRESET, "aborted", "the verification was given up");
    if (verify)
        end(verify, &err);
}

HANDLER(audit_verify)
{
    struct verify *verify = calloc(1, sizeof(*verify));

    (void)query;
    (void)body;
    if (!verify)
        return error_oom(err);
    *verify = (struct verify){.request = request, .api = request->api};
    verify->at = (struct audit_place){0, AUDIT_FIRST_HASH};
    verify->goal = audit_written(request->api->audit).seq;
    audit_hold(request->api->audit);
    if (sd_event_add_defer(request->api->event, &verify->next, on_next, verify) < 0 ||
        sd_event_source_set_enabled(verify->next, SD_EVENT_OFF) < 0) {
        verify_free(verify);
        return error_oom(err);
    }
    request->state = verify;
    http_on_abort(request, abort_verify);
    http_watch_hangup(request);
    verify->asking = true;
    audit_find_end(request->api->db, 0, on_anchor, verify);
    return 0;
}
