/* Theory of operation: transactions wait in one queue; an idle connection takes the first. Another
 * connection is opened when one waits and none is idle, up to the pool's size; the first is opened
 * at once and again whenever it breaks, so that the database is known to be there. What waits
 * longer than its deadline is told that the database is unavailable. Nothing blocks but the look-up
 * of a host name by libpq (`hostaddr` in the URL avoids it). */
#include "api/db/postgres.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define QUEUE_MAX      4096u
#define EXPIRY_TICK_US ((uint64_t)500 * 1000)

static void refuse(struct db_tx *tx, const struct pg *pg)
{
    struct error err = ERROR_NONE;

    if (pg->reason.err == EOPNOTSUPP)
        err = pg->reason;
    else
        error_set_code(&err, EAGAIN, "database_unavailable", "the database is unavailable: %.400s",
                       pg->reason.err ? pg->reason.message : "it is too busy");
    db_finish(tx, &err);
}

static struct db_tx *take_first(struct pg *pg)
{
    struct db_tx *tx = pg->first;

    if (!tx)
        return NULL;
    pg->first = tx->next;
    if (!pg->first)
        pg->last = &pg->first;
    pg->n_queued--;
    tx->next = NULL;
    return tx;
}

void pg_requeue(struct pg *pg, struct db_tx *tx)
{
    tx->next = pg->first;
    pg->first = tx;
    if (!tx->next)
        pg->last = &tx->next;
    pg->n_queued++;
}

/* Unlinked before any is told, since the told may queue more. */
static struct db_tx *take_expired(struct pg *pg, int64_t now_ms)
{
    struct db_tx *expired = NULL, **end = &expired, **link = &pg->first;

    while (*link) {
        struct db_tx *tx = *link;
        if (tx->deadline_ms > now_ms) {
            link = &tx->next;
            continue;
        }
        *link = tx->next;
        tx->next = NULL;
        *end = tx;
        end = &tx->next;
        pg->n_queued--;
    }
    pg->last = link;
    return expired;
}

static void refuse_all(struct pg *pg, struct db_tx *list)
{
    while (list) {
        struct db_tx *tx = list;
        list = tx->next;
        tx->next = NULL;
        refuse(tx, pg);
    }
}

static void break_overdue(struct pg *pg, int64_t now_ms)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, EAGAIN, "database_unavailable", "the database did not answer in time");
    for (unsigned int i = 0; i < pg->base->pool; i++)
        if (pg->conns[i].state == PG_BUSY && pg->conns[i].tx->deadline_ms <= now_ms)
            pg_broken(&pg->conns[i], &err);
}

static int on_expiry(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct pg *pg = userdata;
    int64_t now_ms = now_monotonic_ms();

    (void)usec;
    sd_event_source_set_time_relative(source, EXPIRY_TICK_US);
    break_overdue(pg, now_ms);
    refuse_all(pg, take_expired(pg, now_ms));
    return 0;
}

static struct pg_conn *find(struct pg *pg, enum pg_state state)
{
    for (unsigned int i = 0; i < pg->base->pool; i++)
        if (pg->conns[i].state == state)
            return &pg->conns[i];
    return NULL;
}

/* One that waits for its next try is not pushed: the others tell as soon as the database is back.
 */
static void open_another(struct pg *pg)
{
    if (!pg->has_schema || find(pg, PG_CONNECTING) || find(pg, PG_SETTING_UP))
        return;
    for (unsigned int i = 0; i < pg->base->pool; i++)
        if (pg->conns[i].state == PG_DOWN && !pg->conns[i].timer) {
            pg_connect(&pg->conns[i]);
            return;
        }
}

void pg_serve(struct pg *pg)
{
    struct pg_conn *idle;

    while (pg->first && (idle = find(pg, PG_IDLE)))
        pg_send(idle, take_first(pg));
    if (pg->first && !pg->closing)
        open_another(pg);
}

static void postgres_run(struct db *base, struct db_tx *tx)
{
    struct pg *pg = base->data;

    if (pg->closing || pg->n_queued >= QUEUE_MAX || pg->reason.err == EOPNOTSUPP) {
        refuse(tx, pg);
        return;
    }
    *pg->last = tx;
    pg->last = &tx->next;
    pg->n_queued++;
    pg_serve(pg);
}

static int postgres_check(struct db *base, struct error *err)
{
    const struct pg *pg = base->data;

    for (unsigned int i = 0; i < base->pool; i++)
        if (pg->conns[i].state == PG_IDLE || pg->conns[i].state == PG_BUSY)
            return 0;
    if (pg->reason.err && err)
        *err = pg->reason;
    else
        error_set_code(err, EAGAIN, "database_unavailable", "connecting to the database");
    return -EAGAIN;
}

static void pg_free(struct pg *pg)
{
    sd_event_source_disable_unref(pg->expiry);
    free(pg->conns);
    free(pg->url);
    free(pg);
}

static int postgres_open(struct db *base, const char *url, struct error *err)
{
    struct pg *pg = calloc(1, sizeof(*pg));

    if (!pg)
        return error_oom(err);
    pg->base = base;
    pg->last = &pg->first;
    pg->url = strdup(url);
    pg->conns = calloc(base->pool, sizeof(*pg->conns));
    int r = pg->url && pg->conns ? 0 : -ENOMEM;
    if (r == 0)
        r = sd_event_add_time_relative(base->event, &pg->expiry, CLOCK_MONOTONIC, EXPIRY_TICK_US, 0,
                                       on_expiry, pg);
    if (r >= 0)
        r = sd_event_source_set_enabled(pg->expiry, SD_EVENT_ON);
    if (r < 0) {
        pg_free(pg);
        return error_sys(err, r, "setting up the connections to the database");
    }
    for (unsigned int i = 0; i < base->pool; i++)
        pg->conns[i].pg = pg;
    base->data = pg;
    pg_connect(&pg->conns[0]);
    return 0;
}

static void postgres_abandon(struct db *base)
{
    struct pg *pg = base->data;
    struct error err = ERROR_NONE;

    pg->closing = true;
    error_set_code(&err, EAGAIN, "database_unavailable", "the program is stopping");
    for (unsigned int i = 0; i < base->pool; i++) {
        struct db_tx *tx = TAKE_PTR(pg->conns[i].tx);
        pg_disconnect(&pg->conns[i]);
        if (tx)
            db_finish(tx, &err);
    }
    refuse_all(pg, take_expired(pg, INT64_MAX));
}

static void postgres_close(struct db *base)
{
    postgres_abandon(base);
    pg_free(base->data);
}

const struct db_driver db_postgres = {
    .schemes = {"postgresql", "postgres"},
    .open = postgres_open,
    .abandon = postgres_abandon,
    .close = postgres_close,
    .check = postgres_check,
    .run = postgres_run,
};
