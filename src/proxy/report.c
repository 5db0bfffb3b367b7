/* Theory of operation: see report.h. A browser clips by characters and we by bytes, so what is too
 * long is cut and not refused; everything else must be as the table of fields says. The allowance
 * is a token bucket, kept as quota.c keeps a bandwidth. */
#include "proxy/report.h"

#include "base/browser-report.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

int reports_init(struct reports *reports)
{
    *reports = (struct reports){.n = 0};
    return -pthread_mutex_init(&reports->lock, NULL);
}

void report_free(struct report *report)
{
    json_decref(report->object);
    free(report);
}

void reports_free(struct reports *reports)
{
    for (struct report *report; (report = reports_take(reports));)
        report_free(report);
    pthread_mutex_destroy(&reports->lock);
}

/* ---- reading
 * -------------------------------------------------------------------------------------------- */

/* A length of at most `max` that cuts no character in two. */
static size_t clip(const char *text, size_t length, size_t max)
{
    if (length <= max)
        return length;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static json_t *clean(const json_t *string, size_t max)
{
    size_t length = clip(json_string_value(string), json_string_length(string), max);
    cleanup_free char *text = strndup(json_string_value(string), length);

    for (char *c = text; c && *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            *c = ' ';
    return text ? json_string(text) : NULL;
}

static void clean_strings(json_t *report)
{
    for (size_t i = 0; i < BROWSER_REPORT_FIELDS; i++) {
        const struct field *field = &browser_report_fields[i];
        const json_t *value = json_object_get(report, field->name);
        if (field->type == FIELD_STRING && json_is_string(value))
            json_object_set_new(report, field->name, clean(value, (size_t)field->max));
    }
}

static int check(json_t *report, size_t i, struct error *err)
{
    struct browser_report decoded;
    char prefix[32];

    snprintf(prefix, sizeof(prefix), "reports.%zu.", i);
    clean_strings(report);
    int r =
        fields_decode(report, browser_report_fields, BROWSER_REPORT_FIELDS, prefix, &decoded, err);
    if (r == 0 && json_dumpb(report, NULL, 0, JSON_COMPACT) > REPORT_JSON_MAX) {
        json_object_del(report, "stack");
        json_object_del(report, "frame");
    }
    return r;
}

json_t *reports_read(struct text body, struct error *err)
{
    json_t *list = NULL, *report;
    const struct field fields[] = {
        {"reports", FIELD_ARRAY, 0, 1, REPORTS_A_BODY, true, NULL},
    };
    cleanup_json json_t *value = json_loadb(body.data, body.length, JSON_REJECT_DUPLICATES, NULL);
    size_t i;

    if (!json_is_object(value)) {
        error_set(err, EINVAL, "The body is no JSON object.");
        return NULL;
    }
    if (fields_decode(value, fields, ELEMENTS(fields), "", &list, err) < 0)
        return NULL;
    json_array_foreach(list, i, report) if (check(report, i, err) < 0) return NULL;
    return json_incref(list);
}

/* ---- the allowance
 * -------------------------------------------------------------------------------------- */

bool reports_exhausted(_Atomic int64_t *bucket)
{
    return atomic_load(bucket) >
           now_monotonic_ns() + (REPORTS_BURST - 1) * (SECOND / REPORTS_PER_SECOND);
}

bool reports_admit(_Atomic int64_t *bucket)
{
    int64_t before = atomic_load(bucket), after, now = now_monotonic_ns();

    do {
        if (before > now + (REPORTS_BURST - 1) * (SECOND / REPORTS_PER_SECOND))
            return false;
        after = (before > now ? before : now) + SECOND / REPORTS_PER_SECOND;
    } while (!atomic_compare_exchange_weak(bucket, &before, after));
    return true;
}

/* ---- the queue
 * ------------------------------------------------------------------------------------------ */

bool reports_put(struct reports *reports, const char *sandbox, uint16_t port, json_t *object)
{
    struct report *report = calloc(1, sizeof(*report));

    if (!report)
        return false;
    snprintf(report->sandbox, sizeof(report->sandbox), "%s", sandbox);
    report->port = port;
    report->object = json_incref(object);
    pthread_mutex_lock(&reports->lock);
    bool fits = reports->n < REPORTS_QUEUED_MAX;
    if (fits) {
        reports->n++;
        if (reports->last)
            reports->last->next = report;
        else
            reports->first = report;
        reports->last = report;
    }
    pthread_mutex_unlock(&reports->lock);
    if (!fits)
        report_free(report);
    return fits;
}

struct report *reports_take(struct reports *reports)
{
    pthread_mutex_lock(&reports->lock);
    struct report *report = reports->first;
    if (report) {
        reports->first = report->next;
        if (!reports->first)
            reports->last = NULL;
        reports->n--;
    }
    pthread_mutex_unlock(&reports->lock);
    return report;
}
