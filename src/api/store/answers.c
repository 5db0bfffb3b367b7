/* Theory of operation: see answers.h. Claiming is one transaction: what is too old goes, the key is
 * inserted if it is free, and whatever is there then is read. */
#include "api/store/answers.h"

#define KEPT_MS ((int64_t)24 * 3600 * 1000)

void answers_reset(struct db *db)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "DELETE FROM answers WHERE status = 0", "");
    db_repeatable(tx);
    db_run(db, tx, NULL, NULL);
}

void answers_begin(struct db *db, const char *owner, const char *key, const char *request_hash,
                   int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "DELETE FROM answers WHERE created_at < $1", "i", now_ms - KEPT_MS);
    db_add(tx,
           "INSERT INTO answers (owner, key, request_hash, created_at) "
           "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING key",
           "ttti", owner, key, request_hash, now_ms);
    db_add(tx, "SELECT request_hash, status, body FROM answers WHERE owner = $1 AND key = $2", "tt",
           owner, key);
    db_run(db, tx, done, userdata);
}

bool answers_read(const struct db_result *results, struct store_answer *ret_answer)
{
    const struct db_result *kept = &results[2];

    if (results[1].rows > 0 || kept->rows == 0)
        return true;
    ret_answer->request_hash = db_text(kept, 0, 0);
    ret_answer->status = (unsigned int)db_int(kept, 0, 1);
    ret_answer->body = db_text(kept, 0, 2);
    return false;
}

void answers_finish(struct db *db, const char *owner, const char *key, unsigned int status,
                    const char *body, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    if (status)
        db_add(tx, "UPDATE answers SET status = $1, body = $2 WHERE owner = $3 AND key = $4",
               "ittt", (int64_t)status, body, owner, key);
    else
        db_add(tx, "DELETE FROM answers WHERE owner = $1 AND key = $2", "tt", owner, key);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}
