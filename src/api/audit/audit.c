/* Theory of operation: see audit.h. Entries wait in a queue; a timer takes the first of them, gives
 * them their numbers and hashes and has the database add them in one transaction. Numbers are
 * primary keys, so of two programs that write at a time (one leaves while its successor starts) one
 * is refused, reads where the chain has got to, and takes its entries up again from there. So it
 * does when the outcome is unknown: what has the hash of the last of its records is that record.
 * The end that is read is never taken for less than what was written before: what somebody has cut
 * off in between leaves a gap. */
#include "api/audit/audit.h"

#include "api/request.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define FLUSH_US  ((uint64_t)50 * 1000)
#define RETRY_US  ((uint64_t)1000 * 1000)
#define COUNT_US  ((uint64_t)10 * 1000 * 1000)
#define BATCH_MAX 256u
#define QUEUE_MAX 8192u
#define OWN_ROOM  16u /* of the queue's, for records of our own */

enum count { COUNT_LOST, COUNT_RATE_LIMITED, COUNTS };

static const char *const count_operations[COUNTS] = {"audit.lost", "audit.rate_limited"};

struct audit {
    struct api *api;
    struct audit_entry *first, **last;
    size_t n_queued;
    bool busy;  /* the database has something of ours */
    bool found; /* `end` is where the chain ends */
    bool warned;
    struct audit_place end, written;
    size_t n_batch;           /* of the queue: handed to the database */
    struct audit_place batch; /* the last of them */
    int64_t counts[COUNTS];
    unsigned int holds;
    int64_t told_ms; /* CLOCK_MONOTONIC; when the log was told the end */
    sd_event_source *flush, *count;
    void (*drained)(struct api *api);
};

static void flush(struct audit *audit);

static void flush_in(struct audit *audit, uint64_t us)
{
    sd_event_source_set_time_relative(audit->flush, us);
    sd_event_source_set_enabled(audit->flush, SD_EVENT_ONESHOT);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static bool add(struct audit *audit, struct audit_entry *entry, size_t max)
{
    if (!entry || audit->n_queued >= max) {
        audit_entry_free(entry);
        return false;
    }
    *audit->last = entry;
    audit->last = &entry->next;
    if (audit->n_queued++ == 0 && !audit->busy)
        flush_in(audit, FLUSH_US);
    return true;
}

static void count(struct audit *audit, enum count what)
{
    if (audit->counts[what]++ == 0 && audit->count)
        sd_event_source_set_enabled(audit->count, SD_EVENT_ONESHOT);
}

static void add_counts(struct audit *audit)
{
    for (size_t i = 0; i < COUNTS; i++)
        if (audit->counts[i] > 0 &&
            add(audit, audit_entry_own(count_operations[i], "count", audit->counts[i]), QUEUE_MAX))
            audit->counts[i] = 0;
}

void audit_request(struct http_request *request)
{
    struct audit *audit = request->api->audit;

    if (request->audited || !request->route || !audit || !route_is_audited(request->route))
        return;
    request->audited = true;
    if (str_equal(request->error_code, "rate_limited"))
        count(audit, COUNT_RATE_LIMITED);
    else if (!add(audit, audit_entry_of(request), QUEUE_MAX - OWN_ROOM))
        count(audit, COUNT_LOST);
}

bool audit_add_own(struct audit *audit, const char *operation, const char *name, int64_t value,
                   void (*written)(void *userdata), void *userdata)
{
    struct audit_entry *entry = audit_entry_own(operation, name, value);

    if (entry) {
        entry->written = written;
        entry->userdata = userdata;
    }
    return add(audit, entry, QUEUE_MAX);
}

static void drop(struct audit *audit, size_t n, bool written)
{
    for (; n > 0; n--) {
        struct audit_entry *entry = audit->first;
        audit->first = entry->next;
        audit->n_queued--;
        if (written && entry->written)
            entry->written(entry->userdata);
        audit_entry_free(entry);
    }
    if (!audit->first)
        audit->last = &audit->first;
}

/* ---- the chain ------------------------------------------------------------------------------- */

static void tell_end(struct audit *audit)
{
    if (audit->told_ms && now_monotonic_ms() - audit->told_ms < AUDIT_DAY_MS)
        return;
    audit->told_ms = now_monotonic_ms();
    log_info("audit: the last record is %lld, its hash %s", (long long)audit->written.seq,
             audit->written.hash);
}

static void end_batch(struct audit *audit)
{
    drop(audit, audit->n_batch, true);
    audit->n_batch = 0;
    audit->end = audit->written = audit->batch;
    if (audit->warned)
        log_info("audit: records are written again");
    audit->warned = false;
    tell_end(audit);
}

static void go_on(struct audit *audit)
{
    if (audit->first)
        flush_in(audit, 0);
    else if (audit->drained)
        audit->drained(audit->api);
}

static void try_again(struct audit *audit, const struct error *err)
{
    bool taken = str_equal(err->code, "duplicate");

    audit->found = false;
    if (!taken && !audit->warned)
        log_warning("audit: records wait: %s", err->message);
    audit->warned = audit->warned || !taken;
    flush_in(audit, taken ? 0 : RETRY_US);
}

static void on_appended(void *userdata, const struct db_result *results, const struct error *err)
{
    struct audit *audit = userdata;

    audit->busy = false;
    if (!results) {
        try_again(audit, err);
        return;
    }
    end_batch(audit);
    go_on(audit);
}

static json_t *row_of(const struct audit_entry *entry, struct audit_place *place)
{
    cleanup_free char *record = audit_entry_text(entry, ++place->seq);

    if (!record || audit_hash(place->hash, record, place->hash) < 0)
        return NULL;
    return json_pack("[I, I, s, s, s, s]", (json_int_t)place->seq, (json_int_t)entry->time_ms,
                     entry->subject, entry->target, record, place->hash);
}

/* The text of the next batch; audit->batch and n_batch are set. */
static char *make_batch(struct audit *audit)
{
    cleanup_json json_t *rows = json_array();
    struct audit_entry *entry = audit->first;

    audit->batch = audit->end;
    for (audit->n_batch = 0; entry && audit->n_batch < BATCH_MAX; audit->n_batch++) {
        if (json_array_append_new(rows, row_of(entry, &audit->batch)) < 0)
            return NULL;
        entry = entry->next;
    }
    return json_dumps(rows, JSON_COMPACT);
}

static void on_end_found(void *userdata, const struct db_result *results, const struct error *err)
{
    struct audit *audit = userdata;
    struct audit_place end = {0, AUDIT_FIRST_HASH};

    audit->busy = false;
    if (!results) {
        try_again(audit, err);
        return;
    }
    if (audit->n_batch > 0 && results[1].rows > 0 &&
        str_equal(db_text(&results[1], 0, 0), audit->batch.hash))
        end_batch(audit);
    audit->n_batch = 0;
    audit_place_read(&results[2], &end);
    audit_place_read(&results[0], &end);
    audit->end = end.seq >= audit->written.seq ? end : audit->written;
    audit->written = audit->end;
    audit->found = true;
    tell_end(audit);
    go_on(audit);
}

static void flush(struct audit *audit)
{
    struct error err = ERROR_NONE;

    if (audit->busy)
        return;
    if (!audit->found) {
        audit->busy = true;
        audit_find_end(audit->api->db, audit->n_batch ? audit->batch.seq : 0, on_end_found, audit);
        return;
    }
    if (!audit->first)
        return;
    cleanup_free char *rows = make_batch(audit);
    if (!rows) {
        audit->n_batch = 0;
        error_oom(&err);
        try_again(audit, &err);
        return;
    }
    audit->busy = true;
    audit_append(audit->api->db, rows, on_appended, audit);
}

static int on_flush(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    flush(userdata);
    return 0;
}

static int on_count(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct audit *audit = userdata;

    (void)usec;
    add_counts(audit);
    sd_event_source_set_time_relative(source, COUNT_US);
    for (size_t i = 0; i < COUNTS; i++)
        if (audit->counts[i] > 0)
            sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct audit_place audit_written(const struct audit *audit)
{
    return audit->written;
}

void audit_hold(struct audit *audit)
{
    audit->holds++;
}

void audit_release(struct audit *audit)
{
    audit->holds--;
}

bool audit_is_held(const struct audit *audit)
{
    return audit->holds > 0;
}

void audit_drain(struct audit *audit, void (*done)(struct api *api))
{
    add_counts(audit);
    audit->drained = done;
    if (!audit->first)
        done(audit->api);
    else if (!audit->busy)
        flush_in(audit, 0);
}

struct audit *audit_new(struct api *api)
{
    struct audit *audit = calloc(1, sizeof(*audit));

    if (!audit)
        return NULL;
    audit->api = api;
    audit->last = &audit->first;
    if (sd_event_add_time_relative(api->event, &audit->flush, CLOCK_MONOTONIC, 0, 1000, on_flush,
                                   audit) < 0 ||
        sd_event_add_time_relative(api->event, &audit->count, CLOCK_MONOTONIC, 0, 1000, on_count,
                                   audit) < 0) {
        audit_free(audit);
        return NULL;
    }
    return audit;
}

void audit_end(struct audit *audit)
{
    if (!audit)
        return;
    audit->drained = NULL;
    add_counts(audit);
    for (size_t i = 0; i < QUEUE_MAX / BATCH_MAX + 2 && audit->first && !audit->busy; i++)
        flush(audit);
}

void audit_free(struct audit *audit)
{
    if (!audit)
        return;
    if (audit->n_queued > 0)
        log_warning("audit: %zu records are lost", audit->n_queued);
    drop(audit, audit->n_queued, false);
    sd_event_source_disable_unref(audit->flush);
    sd_event_source_disable_unref(audit->count);
    free(audit);
}
