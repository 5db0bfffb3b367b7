/* Theory of operation: SQLite in WAL mode. PRAGMA user_version counts the migrations applied; each
 * is one transaction, so a crash leaves either the old schema or the new. A statement is prepared
 * where it is used: preparing costs microseconds, and nothing then outlives a schema change. */
#include "api/store/store.h"

#include "base/cleanup.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUSY_MS        2000
#define ANSWER_KEPT_MS ((int64_t)24 * 3600 * 1000)

static const char *const migrations[] = {
    "CREATE TABLE api_keys ("
    "  id TEXT PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  hash TEXT NOT NULL UNIQUE,"
    "  owner TEXT NOT NULL,"
    "  scopes INTEGER NOT NULL,"
    "  created_at INTEGER NOT NULL,"
    "  last_used_at INTEGER NOT NULL DEFAULT 0,"
    "  revoked_at INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE TABLE answers ("
    "  owner TEXT NOT NULL,"
    "  key TEXT NOT NULL,"
    "  request_hash TEXT NOT NULL,"
    "  status INTEGER NOT NULL DEFAULT 0,"
    "  body TEXT NOT NULL DEFAULT '',"
    "  created_at INTEGER NOT NULL,"
    "  PRIMARY KEY (owner, key)"
    ") STRICT;"
    "CREATE INDEX answers_created_at ON answers (created_at);",
};

static void finalize(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

#define cleanup_statement __attribute__((cleanup(finalize))) sqlite3_stmt

static int fail(sqlite3 *db, int code, struct error *err)
{
    int number = code == SQLITE_FULL                            ? ENOSPC
                 : code == SQLITE_BUSY || code == SQLITE_LOCKED ? EAGAIN
                 : code == SQLITE_NOMEM                         ? ENOMEM
                                                                : EIO;

    return error_set_code(err, number, "database", "SQLite: %s", sqlite3_errmsg(db));
}

static int execute(sqlite3 *db, const char *sql, struct error *err)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : fail(db, code, err);
}

/* `types`: one letter an argument, t = const char *, i = int64_t. */
static int prepare(sqlite3 *db, sqlite3_stmt **ret_statement, struct error *err, const char *sql,
                   const char *types, ...)
{
    va_list arguments;
    int code = sqlite3_prepare_v2(db, sql, -1, ret_statement, NULL);

    va_start(arguments, types);
    for (int i = 1; code == SQLITE_OK && *types; i++, types++) {
        if (*types == 't')
            code = sqlite3_bind_text(*ret_statement, i, va_arg(arguments, const char *), -1,
                                     SQLITE_TRANSIENT);
        else
            code = sqlite3_bind_int64(*ret_statement, i, va_arg(arguments, int64_t));
    }
    va_end(arguments);
    return code == SQLITE_OK ? 0 : fail(db, code, err);
}

/* 1: a row, 0: done. */
static int step(sqlite3 *db, sqlite3_stmt *statement, struct error *err)
{
    int code = sqlite3_step(statement);

    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : fail(db, code, err);
}

static int read_version(sqlite3 *db, int64_t *ret_version, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(db, &statement, err, "PRAGMA user_version", "");

    if (r == 0)
        r = step(db, statement, err);
    if (r < 0)
        return r;
    *ret_version = sqlite3_column_int64(statement, 0);
    return 0;
}

static int apply(sqlite3 *db, size_t number, struct error *err)
{
    char set_version[64];
    int r = execute(db, "BEGIN IMMEDIATE", err);

    if (r < 0)
        return r;
    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %zu", number + 1);
    r = execute(db, migrations[number], err);
    if (r == 0)
        r = execute(db, set_version, err);
    if (r == 0)
        r = execute(db, "COMMIT", err);
    if (r < 0)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int migrate(sqlite3 *db, struct error *err)
{
    int64_t version = 0;
    int r = read_version(db, &version, err);

    if (r == 0 && (version < 0 || (size_t)version > ELEMENTS(migrations)))
        return error_set_code(err, EOPNOTSUPP, "newer_schema",
                              "the database has schema %lld, this program knows up to %zu",
                              (long long)version, ELEMENTS(migrations));
    for (size_t i = (size_t)version; r == 0 && i < ELEMENTS(migrations); i++)
        r = apply(db, i, err);
    return r;
}

static int sqlite_open(struct store *store, const char *rest, struct error *err)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(
        rest, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    int r = code == SQLITE_OK ? 0 : fail(db, code, err);

    if (r == 0) {
        sqlite3_busy_timeout(db, BUSY_MS);
        r = execute(db,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
                    err);
    }
    if (r == 0)
        r = migrate(db, err);
    /* Whoever worked on these is gone, and so is the only one who could have finished them. */
    if (r == 0)
        r = execute(db, "DELETE FROM answers WHERE status = 0", err);
    if (r < 0) {
        error_prefix(err, "database `%s`", rest);
        sqlite3_close(db);
        return r;
    }
    store->data = db;
    return 0;
}

static void sqlite_close(struct store *store)
{
    sqlite3_close(store->data);
}

static int sqlite_check(struct store *store, struct error *err)
{
    int64_t version;

    return read_version(store->data, &version, err);
}

static int sqlite_key_add(struct store *store, const struct store_key *key, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(store->data, &statement, err,
                    "INSERT INTO api_keys (id, name, hash, owner, scopes, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    "ttttii", key->id, key->name, key->hash, key->owner, (int64_t)key->scopes,
                    key->created_at);

    return r < 0 ? r : step(store->data, statement, err);
}

static void copy_text(char *target, size_t size, sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    snprintf(target, size, "%s", text ? (const char *)text : "");
}

#define KEY_COLUMNS "id, name, hash, owner, scopes, created_at, last_used_at"

static void read_key(sqlite3_stmt *statement, struct store_key *key)
{
    copy_text(key->id, sizeof(key->id), statement, 0);
    copy_text(key->name, sizeof(key->name), statement, 1);
    copy_text(key->hash, sizeof(key->hash), statement, 2);
    copy_text(key->owner, sizeof(key->owner), statement, 3);
    key->scopes = (unsigned int)sqlite3_column_int64(statement, 4);
    key->created_at = sqlite3_column_int64(statement, 5);
    key->last_used_at = sqlite3_column_int64(statement, 6);
}

static int sqlite_key_find(struct store *store, const char *hash, struct store_key *ret_key,
                           struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(store->data, &statement, err,
                    "SELECT " KEY_COLUMNS " FROM api_keys WHERE hash = ? AND revoked_at = 0", "t",
                    hash);

    if (r == 0)
        r = step(store->data, statement, err);
    if (r == 0)
        return error_set_code(err, ENOENT, "token_not_found", "there is no such API key");
    if (r < 0)
        return r;
    read_key(statement, ret_key);
    return 0;
}

static int sqlite_key_touch(struct store *store, const char *id, int64_t now_ms)
{
    cleanup_statement *statement = NULL;
    int r = prepare(store->data, &statement, NULL,
                    "UPDATE api_keys SET last_used_at = ? WHERE id = ?", "it", now_ms, id);

    return r < 0 ? r : step(store->data, statement, NULL);
}

static int sqlite_key_revoke(struct store *store, const char *id, int64_t now_ms, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(store->data, &statement, err,
                    "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at = 0", "it",
                    now_ms, id);

    if (r == 0)
        r = step(store->data, statement, err);
    if (r == 0 && sqlite3_changes(store->data) == 0)
        return error_set_code(err, ENOENT, "token_not_found", "there is no API key `%.32s`", id);
    return r;
}

static int sqlite_key_list(struct store *store,
                           int (*each)(void *userdata, const struct store_key *key), void *userdata,
                           struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(
        store->data, &statement, err,
        "SELECT " KEY_COLUMNS " FROM api_keys WHERE revoked_at = 0 ORDER BY created_at, id", "");

    while (r == 0 && (r = step(store->data, statement, err)) > 0) {
        struct store_key key;
        read_key(statement, &key);
        r = each(userdata, &key);
        if (r < 0)
            error_sys(err, r, "listing API keys");
    }
    return r;
}

static int find_answer(struct store *store, const char *owner, const char *key,
                       struct store_answer *ret_answer, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(store->data, &statement, err,
                    "SELECT request_hash, status, body FROM answers WHERE owner = ? AND key = ?",
                    "tt", owner, key);

    if (r == 0)
        r = step(store->data, statement, err);
    if (r <= 0)
        return r < 0 ? r : error_set(err, EAGAIN, "the idempotency key is being given free");
    char *body = strdup((const char *)sqlite3_column_text(statement, 2));
    if (!body)
        return error_oom(err);
    copy_text(ret_answer->request_hash, sizeof(ret_answer->request_hash), statement, 0);
    ret_answer->status = (unsigned int)sqlite3_column_int64(statement, 1);
    ret_answer->body = body;
    return error_set(err, EEXIST, "the idempotency key is known");
}

static int forget_old(struct store *store, int64_t now_ms, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = prepare(store->data, &statement, err, "DELETE FROM answers WHERE created_at < ?", "i",
                    now_ms - ANSWER_KEPT_MS);

    return r < 0 ? r : step(store->data, statement, err);
}

static int sqlite_answer_begin(struct store *store, const char *owner, const char *key,
                               const char *request_hash, int64_t now_ms,
                               struct store_answer *ret_answer, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = forget_old(store, now_ms, err);

    if (r == 0)
        r = prepare(store->data, &statement, err,
                    "INSERT INTO answers (owner, key, request_hash, created_at) "
                    "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    "ttti", owner, key, request_hash, now_ms);
    if (r == 0)
        r = step(store->data, statement, err);
    if (r < 0 || sqlite3_changes(store->data) > 0)
        return r;
    return find_answer(store, owner, key, ret_answer, err);
}

static int sqlite_answer_finish(struct store *store, const char *owner, const char *key,
                                unsigned int status, const char *body, struct error *err)
{
    cleanup_statement *statement = NULL;
    int r = status ? prepare(store->data, &statement, err,
                             "UPDATE answers SET status = ?, body = ? WHERE owner = ? AND key = ?",
                             "ittt", (int64_t)status, body, owner, key)
                   : prepare(store->data, &statement, err,
                             "DELETE FROM answers WHERE owner = ? AND key = ?", "tt", owner, key);

    return r < 0 ? r : step(store->data, statement, err);
}

const struct store_driver store_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .check = sqlite_check,
    .key_add = sqlite_key_add,
    .key_find = sqlite_key_find,
    .key_touch = sqlite_key_touch,
    .key_revoke = sqlite_key_revoke,
    .key_list = sqlite_key_list,
    .answer_begin = sqlite_answer_begin,
    .answer_finish = sqlite_answer_finish,
};
