/* Theory of operation: see thumbnails.h. SQLite knows no upsert through a view, so a picture is
 * replaced by removing it first. */
#include "api/store/thumbnails.h"

#define SESSION_EXISTS "SELECT 1 FROM sessions WHERE id = $1"

void thumbnail_put(struct db *db, const struct who *who, const char *session, const char *etag,
                   const char *png, const char *url, int64_t now_ms, db_done_fn done,
                   void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, "DELETE FROM thumbnails WHERE session_id = $1", "t", session);
    db_add(tx,
           "INSERT INTO thumbnails (session_id, etag, png) "
           "SELECT id, CAST($2 AS text), CAST($3 AS text) FROM sessions WHERE id = $1",
           "ttt", session, etag, png);
    db_add(tx, "UPDATE sessions SET thumbnail = $2, updated_at = from_ms($3) WHERE id = $1", "tti",
           session, url, now_ms);
    session_add_find(tx, session);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void thumbnail_find(struct db *db, const struct who *who, const char *session, db_done_fn done,
                    void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, SESSION_EXISTS, "t", session);
    db_add(tx, "SELECT etag, png FROM thumbnails WHERE session_id = $1", "t", session);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void thumbnail_delete(struct db *db, const struct who *who, const char *session, const char *url,
                      int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, SESSION_EXISTS, "t", session);
    db_add(tx, "DELETE FROM thumbnails WHERE session_id = $1 RETURNING session_id", "t", session);
    db_add(tx,
           "UPDATE sessions SET thumbnail = NULL, updated_at = from_ms($3) "
           "WHERE id = $1 AND thumbnail = $2",
           "tti", session, url, now_ms);
    db_run(db, tx, done, userdata);
}
