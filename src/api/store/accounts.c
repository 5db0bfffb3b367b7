/* Theory of operation: see accounts.h. A name is made of the characters that an address of mail may
 * have without quotes (RFC 5322's atext, dots and an @), all of ASCII: then lower case is all there
 * is to say about names that look the same. */
#include "api/store/accounts.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define COLUMNS "id, name, password_hash, epoch, disabled, created_at, changed_at"

int account_handle(const char *name, char ret_handle[ACCOUNT_NAME_MAX + 1], struct error *err)
{
    static const char allowed[] = ".@!#$%&'*+-/=?^_`{|}~";
    size_t length = strlen(name);

    if (length < 1 || length > ACCOUNT_NAME_MAX)
        return error_set_field(err, "name", "expected 1 to %u bytes, got %zu", ACCOUNT_NAME_MAX,
                               length);
    for (size_t i = 0; i <= length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c && (c > '~' || (!isalnum(c) && !strchr(allowed, c))))
            return error_set_field(err, "name",
                                   "expected letters and digits of ASCII, and any of %s", allowed);
        ret_handle[i] = (char)tolower(c);
    }
    return 0;
}

void accounts_add(struct db *db, const struct store_account *account, db_done_fn done,
                  void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);
    char handle[ACCOUNT_NAME_MAX + 1] = "";

    account_handle(account->name, handle, NULL);
    db_add(tx,
           "INSERT INTO accounts (id, name, handle, password_hash, created_at, changed_at) "
           "VALUES ($1, $2, $3, $4, $5, $5) RETURNING " COLUMNS,
           "tttti", account->id, account->name, handle, account->hash, account->created_at);
    db_run(db, tx, done, userdata);
}

static void find(struct db *db, const char *sql, const char *value, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, sql, "t", value);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void accounts_find(struct db *db, const char *id, db_done_fn done, void *userdata)
{
    find(db, "SELECT " COLUMNS " FROM accounts WHERE id = $1", id, done, userdata);
}

void accounts_find_handle(struct db *db, const char *handle, db_done_fn done, void *userdata)
{
    find(db, "SELECT " COLUMNS " FROM accounts WHERE handle = $1", handle, done, userdata);
}

void accounts_change(struct db *db, const char *id, const char *hash, int disabled, int64_t now_ms,
                     db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "UPDATE accounts SET password_hash = coalesce($2, password_hash), "
           "disabled = CASE WHEN CAST($3 AS bigint) < 0 THEN disabled ELSE $3 END, "
           "epoch = epoch + 1, changed_at = $4 WHERE id = $1 RETURNING " COLUMNS,
           "ttii", id, hash, (int64_t)disabled, now_ms);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void accounts_remove(struct db *db, const char *id, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "DELETE FROM accounts WHERE id = $1 RETURNING " COLUMNS, "t", id);
    db_run(db, tx, done, userdata);
}

void accounts_list(struct db *db, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "SELECT " COLUMNS " FROM accounts ORDER BY handle", "");
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void account_from_row(const struct db_result *result, size_t row, struct store_account *ret_account)
{
    db_copy_text(result, row, 0, ret_account->id, sizeof(ret_account->id));
    db_copy_text(result, row, 1, ret_account->name, sizeof(ret_account->name));
    db_copy_text(result, row, 2, ret_account->hash, sizeof(ret_account->hash));
    ret_account->epoch = db_int(result, row, 3);
    ret_account->disabled = db_int(result, row, 4) != 0;
    ret_account->created_at = db_int(result, row, 5);
    ret_account->changed_at = db_int(result, row, 6);
}
