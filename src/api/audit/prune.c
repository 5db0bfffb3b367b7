/* Theory of operation: see audit.h. A look finds up to where records are too old; a record says so;
 * once it is written they are removed in steps, since each of them holds up the loop on SQLite. A
 * program that dies in between has said more than it removed, and its successor goes on. */
#include "api/audit/audit.h"

#include "base/log.h"
#include "base/str.h"

#include <stdlib.h>

#define LOOK_US ((uint64_t)6 * 3600 * 1000 * 1000)
#define HELD_US ((uint64_t)60 * 1000 * 1000)

struct audit_prune {
    struct api *api;
    sd_event_source *timer;
    int64_t through; /* to be removed up to there; 0: it is looked for */
    bool announced;
};

static void wake_in(struct audit_prune *prune, uint64_t us)
{
    sd_event_source_set_time_relative(prune->timer, us);
    sd_event_source_set_enabled(prune->timer, SD_EVENT_ONESHOT);
}

static void on_step(void *userdata, const struct db_result *results, const struct error *err)
{
    struct audit_prune *prune = userdata;
    bool more = results && results[3].rows > 0;

    if (!results)
        log_warning("audit: old records stay for now: %s", err->message);
    else if (!more)
        log_info("audit: records up to %lld are removed", (long long)prune->through);
    if (!more)
        prune->through = 0;
    wake_in(prune, more ? 0 : LOOK_US);
}

static void on_announced(void *userdata)
{
    struct audit_prune *prune = userdata;

    prune->announced = true;
    wake_in(prune, 0);
}

static void on_found(void *userdata, const struct db_result *results, const struct error *err)
{
    struct audit_prune *prune = userdata;
    int64_t through = results && results[0].rows ? db_int(&results[0], 0, 0) : 0;

    (void)err; /* whoever writes the next record tells */
    wake_in(prune, LOOK_US);
    if (through == 0)
        return;
    prune->announced = false;
    if (audit_add_own(prune->api->audit, AUDIT_PRUNE, "through", through, on_announced, prune))
        prune->through = through;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct audit_prune *prune = userdata;
    int64_t days = prune->api->config.audit_keep_days;

    (void)source;
    (void)usec;
    if (audit_is_held(prune->api->audit))
        wake_in(prune, HELD_US);
    else if (prune->through > 0 && prune->announced)
        audit_prune_step(prune->api->db, prune->through, on_step, prune);
    else if (prune->through == 0 && days > 0)
        audit_find_old(prune->api->db, now_realtime_ms() - days * AUDIT_DAY_MS, on_found, prune);
    else
        wake_in(prune, LOOK_US);
    return 0;
}

struct audit_prune *audit_prune_new(struct api *api)
{
    struct audit_prune *prune = calloc(1, sizeof(*prune));

    if (!prune)
        return NULL;
    prune->api = api;
    if (sd_event_add_time_relative(api->event, &prune->timer, CLOCK_MONOTONIC, 0, 1000, on_timer,
                                   prune) < 0) {
        free(prune);
        return NULL;
    }
    return prune;
}

void audit_prune_free(struct audit_prune *prune)
{
    if (!prune)
        return;
    sd_event_source_disable_unref(prune->timer);
    free(prune);
}
