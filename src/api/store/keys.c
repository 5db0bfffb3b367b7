/* Theory of operation: see keys.h. A revoked key stays as a row, so that its id is never used
 * again. */
#include "api/store/keys.h"

#define COLUMNS "id, name, hash, owner, scopes, created_at, last_used_at"

void keys_add(struct db *db, const struct store_key *key, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "INSERT INTO api_keys (id, name, hash, owner, scopes, created_at) "
           "VALUES ($1, $2, $3, $4, $5, $6)",
           "ttttii", key->id, key->name, key->hash, key->owner, (int64_t)key->scopes,
           key->created_at);
    db_run(db, tx, done, userdata);
}

void keys_find(struct db *db, const char *hash, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "SELECT " COLUMNS " FROM api_keys WHERE hash = $1 AND revoked_at = 0", "t", hash);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void keys_touch(struct db *db, const char *id, int64_t now_ms)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "UPDATE api_keys SET last_used_at = $1 WHERE id = $2", "it", now_ms, id);
    db_run(db, tx, NULL, NULL);
}

void keys_revoke(struct db *db, const char *id, int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0 RETURNING id",
           "it", now_ms, id);
    db_run(db, tx, done, userdata);
}

void keys_list(struct db *db, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "SELECT " COLUMNS " FROM api_keys WHERE revoked_at = 0 ORDER BY created_at, id", "");
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void key_from_row(const struct db_result *result, size_t row, struct store_key *ret_key)
{
    db_copy_text(result, row, 0, ret_key->id, sizeof(ret_key->id));
    db_copy_text(result, row, 1, ret_key->name, sizeof(ret_key->name));
    db_copy_text(result, row, 2, ret_key->hash, sizeof(ret_key->hash));
    db_copy_text(result, row, 3, ret_key->owner, sizeof(ret_key->owner));
    ret_key->scopes = (unsigned int)db_int(result, row, 4);
    ret_key->created_at = db_int(result, row, 5);
    ret_key->last_used_at = db_int(result, row, 6);
}
