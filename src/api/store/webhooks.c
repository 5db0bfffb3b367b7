/* Theory of operation: see webhooks.h. Claiming is one statement that moves the time at which a
 * delivery is due: whoever dies with it gives it back by that, and of two programs that claim at a
 * time each gets others. */
#include "api/store/webhooks.h"

#include "base/cleanup.h"

#define TEXT_OF(macro)  TEXT_OF_(macro)
#define TEXT_OF_(value) #value

#define WEBHOOK_COLUMNS "id, owner, user_id, everything, url, secret, events, active, created_at"
/* $1 is the id, $2 whether an administrator asks, $3 the owner. */
#define MINE "id = $1 AND (CAST($2 AS bigint) = 1 OR owner = $3)"

void webhook_add(struct db *db, const struct webhook *webhook, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "INSERT INTO webhooks (" WEBHOOK_COLUMNS ") "
           "SELECT CAST($1 AS text), CAST($2 AS text), CAST($3 AS text), CAST($4 AS bigint), "
           "CAST($5 AS text), CAST($6 AS text), CAST($7 AS text), CAST($8 AS bigint), "
           "CAST($9 AS bigint) "
           "WHERE (SELECT count(*) FROM webhooks WHERE owner = $2) < " TEXT_OF(
               WEBHOOKS_MAX) " RETURNING id",
           "tttbtttbi", webhook->id, webhook->owner, webhook->user, webhook->everything,
           webhook->url, webhook->secret, webhook->events, webhook->active, webhook->created_at);
    db_run(db, tx, done, userdata);
}

void webhook_list(struct db *db, const struct webhook_asker *asker, const char *id, db_done_fn done,
                  void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    if (id)
        db_add(tx, "SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE " MINE, "tbt", id, asker->admin,
               asker->owner);
    else
        db_add(tx,
               "SELECT " WEBHOOK_COLUMNS
               " FROM webhooks WHERE CAST($1 AS bigint) = 1 OR owner = $2 "
               "ORDER BY created_at, id",
               "bt", asker->admin, asker->owner);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void webhook_update(struct db *db, const struct webhook_asker *asker, const char *id,
                    const struct webhook_patch *patch, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "UPDATE webhooks SET url = coalesce(CAST($4 AS text), url), "
           "secret = coalesce(CAST($5 AS text), secret), "
           "events = coalesce(CAST($6 AS text), events), "
           "active = CASE WHEN CAST($7 AS bigint) < 0 THEN active ELSE CAST($7 AS bigint) END "
           "WHERE " MINE " RETURNING " WEBHOOK_COLUMNS,
           "tbtttti", id, asker->admin, asker->owner, patch->url, patch->secret, patch->events,
           (int64_t)patch->active);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void webhook_delete(struct db *db, const struct webhook_asker *asker, const char *id,
                    db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "DELETE FROM webhooks WHERE " MINE " RETURNING id", "tbt", id, asker->admin,
           asker->owner);
    db_run(db, tx, done, userdata);
}

void webhook_read(const struct db_result *result, size_t row, struct webhook *ret_webhook)
{
    *ret_webhook = (struct webhook){
        .id = db_text(result, row, 0),
        .owner = db_text(result, row, 1),
        .user = db_text(result, row, 2),
        .everything = db_int(result, row, 3) != 0,
        .url = db_text(result, row, 4),
        .secret = db_text(result, row, 5),
        .events = db_text(result, row, 6),
        .active = db_int(result, row, 7) != 0,
        .created_at = db_int(result, row, 8),
    };
}

/* ---- deliveries -------------------------------------------------------------------------------
 */

#define DELIVERY_COLUMNS "id, webhook_id, type, body, attempts, created_at, status, error"

void delivery_add(struct db *db, const char *webhook, const char *type, const char *body,
                  int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "INSERT INTO webhook_deliveries (webhook_id, type, body, next_at, created_at) "
           "SELECT id, CAST($2 AS text), CAST($3 AS text), CAST($4 AS bigint), CAST($4 AS bigint) "
           "FROM webhooks WHERE id = $1 AND (SELECT count(*) FROM webhook_deliveries "
           "WHERE webhook_id = $1 AND dead = 0) < " DELIVERIES_MAX " RETURNING id",
           "ttti", webhook, type, body, now_ms);
    db_run(db, tx, done, userdata);
}

#define ACTIVE "webhook_id IN (SELECT id FROM webhooks WHERE active = 1)"

void deliveries_claim(struct db *db, int64_t now_ms, int64_t lease_ms, int64_t limit,
                      db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "UPDATE webhook_deliveries SET next_at = $2 WHERE dead = 0 AND next_at <= $1 AND id IN "
           "(SELECT id FROM webhook_deliveries WHERE dead = 0 AND next_at <= $1 AND " ACTIVE
           " ORDER BY next_at, id LIMIT $3) RETURNING " DELIVERY_COLUMNS,
           "iii", now_ms, lease_ms, limit);
    db_add(tx, "SELECT min(next_at) FROM webhook_deliveries WHERE dead = 0 AND " ACTIVE, "");
    db_run(db, tx, done, userdata);
}

void delivery_done(struct db *db, int64_t id)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "DELETE FROM webhook_deliveries WHERE id = $1", "i", id);
    db_repeatable(tx);
    db_run(db, tx, NULL, NULL);
}

void delivery_failed(struct db *db, int64_t id, int64_t status, const char *error, int64_t next_ms,
                     bool dead, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "UPDATE webhook_deliveries SET attempts = attempts + 1, status = $2, error = $3, "
           "next_at = $4, dead = $5 WHERE id = $1",
           "iitib", id, status, error, next_ms, dead);
    db_run(db, tx, done, userdata);
}

void deliveries_dead(struct db *db, const struct webhook_asker *asker, const char *webhook,
                     int64_t before, int64_t limit, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "SELECT 1 FROM webhooks WHERE " MINE, "tbt", webhook, asker->admin, asker->owner);
    db_add(tx,
           "SELECT " DELIVERY_COLUMNS " FROM webhook_deliveries WHERE dead = 1 AND webhook_id IN "
           "(SELECT id FROM webhooks WHERE " MINE ") AND id < $4 ORDER BY id DESC LIMIT $5",
           "tbtii", webhook, asker->admin, asker->owner, before ? before : INT64_MAX, limit + 1);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void deliveries_revive(struct db *db, const struct webhook_asker *asker, const char *webhook,
                       int64_t id, int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "SELECT 1 FROM webhooks WHERE " MINE, "tbt", webhook, asker->admin, asker->owner);
    db_add(tx,
           "UPDATE webhook_deliveries SET dead = 0, attempts = 0, next_at = $4, created_at = $4 "
           "WHERE dead = 1 AND webhook_id IN (SELECT id FROM webhooks WHERE " MINE
           ") AND (CAST($5 AS bigint) = 0 OR id = CAST($5 AS bigint)) RETURNING id",
           "tbtii", webhook, asker->admin, asker->owner, now_ms, id);
    db_run(db, tx, done, userdata);
}

void deliveries_forget(struct db *db, int64_t time_ms)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "DELETE FROM webhook_deliveries WHERE dead = 1 AND next_at < $1", "i", time_ms);
    db_repeatable(tx);
    db_run(db, tx, NULL, NULL);
}

void delivery_read(const struct db_result *result, size_t row, struct delivery *ret_delivery)
{
    *ret_delivery = (struct delivery){
        .id = db_int(result, row, 0),
        .webhook = db_text(result, row, 1),
        .type = db_text(result, row, 2),
        .body = db_text(result, row, 3),
        .attempts = db_int(result, row, 4),
        .created_at = db_int(result, row, 5),
        .status = db_int(result, row, 6),
        .error = db_text(result, row, 7),
    };
}
