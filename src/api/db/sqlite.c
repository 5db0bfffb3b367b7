/* Theory of operation: one connection in WAL mode; a transaction runs at once and ends before
 * db_run returns. PRAGMA user_version counts the versions of the schema that were applied; each is
 * one transaction, so a crash leaves either the old schema or the new. A statement is prepared
 * where it is used: preparing costs microseconds, and nothing then outlives a schema change.
 *
 * Row-level security: the views of sql/sqlite/ ask two functions who the transaction is for, and
 * the authorizer refuses a user's statement any table that it does not reach through a view or a
 * trigger (SQLite names the innermost one). Both hold for whatever SQL is run here. */
#include "api/db/driver.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#define BUSY_MS 2000

struct sqlite {
    sqlite3 *handle;
    const struct db_tx *tx; /* that runs; NULL: the driver itself */
};

static void finalize(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

#define cleanup_statement __attribute__((cleanup(finalize))) sqlite3_stmt

static const struct {
    int code, err;
    const char *name;
} failures[] = {
    {SQLITE_FULL, ENOSPC, "database"},
    {SQLITE_BUSY, EAGAIN, "database_unavailable"},
    {SQLITE_LOCKED, EAGAIN, "database_unavailable"},
    {SQLITE_NOMEM, ENOMEM, "out_of_memory"},
    {SQLITE_AUTH, EACCES, "forbidden"},
    {SQLITE_CONSTRAINT_UNIQUE, EEXIST, "duplicate"},
    {SQLITE_CONSTRAINT_PRIMARYKEY, EEXIST, "duplicate"},
    {SQLITE_CONSTRAINT_FOREIGNKEY, ENOENT, "reference"},
    {SQLITE_CONSTRAINT_TRIGGER, EACCES, "forbidden"}, /* RAISE in sql/sqlite/ */
};

static int fail(sqlite3 *handle, struct error *err)
{
    int code = sqlite3_extended_errcode(handle);

    for (size_t i = 0; i < ELEMENTS(failures); i++)
        if (code == failures[i].code || (code & 0xff) == failures[i].code)
            return error_set_code(err, failures[i].err, failures[i].name, "SQLite: %s",
                                  sqlite3_errmsg(handle));
    return error_set_code(err, EIO, "database", "SQLite: %s", sqlite3_errmsg(handle));
}

static int execute(struct sqlite *db, const char *sql, struct error *err)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(db->handle, err);
}

/* ---- the schema's functions -------------------------------------------------------------------
 */

static bool is_user(const struct sqlite *db)
{
    return db->tx && db->tx->actor == DB_USER;
}

static void fn_auth_uid(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct sqlite *db = sqlite3_user_data(context);

    (void)count;
    (void)values;
    if (is_user(db))
        sqlite3_result_text(context, db->tx->user, -1, SQLITE_TRANSIENT);
    else
        sqlite3_result_null(context);
}

static void fn_auth_is_service(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_int(context, !is_user(sqlite3_user_data(context)));
}

static void fn_same(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_value(context, values[0]);
}

static const struct {
    const char *name;
    int arguments, flags;
    void (*function)(sqlite3_context *, int, sqlite3_value **);
} functions[] = {
    {"auth_uid", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, fn_auth_uid},
    {"auth_is_service", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, fn_auth_is_service},
    {"ms", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, fn_same},
    {"from_ms", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, fn_same},
};

static int add_functions(struct sqlite *db, struct error *err)
{
    for (size_t i = 0; i < ELEMENTS(functions); i++)
        if (sqlite3_create_function(db->handle, functions[i].name, functions[i].arguments,
                                    functions[i].flags, db, functions[i].function, NULL,
                                    NULL) != SQLITE_OK)
            return fail(db->handle, err);
    return 0;
}

/* What a user's statement names itself, and not through one of our views or triggers, must be one
 * of the views. */
static int authorize(void *userdata, int action, const char *first, const char *second,
                     const char *database, const char *through)
{
    static const char *const views[] = {"sessions", "chat_messages", "thumbnails"};

    (void)second;
    (void)database;
    if (!is_user(userdata) || through || action == SQLITE_SELECT || action == SQLITE_FUNCTION ||
        action == SQLITE_TRANSACTION)
        return SQLITE_OK;
    if (action != SQLITE_READ && action != SQLITE_INSERT && action != SQLITE_UPDATE &&
        action != SQLITE_DELETE)
        return SQLITE_DENY;
    for (size_t i = 0; i < ELEMENTS(views); i++)
        if (str_equal(first, views[i]))
            return SQLITE_OK;
    return SQLITE_DENY;
}

/* ---- the schema -------------------------------------------------------------------------------
 */

static int read_version(struct sqlite *db, int64_t *ret_version, struct error *err)
{
    cleanup_statement *statement = NULL;

    if (sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        return fail(db->handle, err);
    *ret_version = sqlite3_column_int64(statement, 0);
    return 0;
}

static int apply(struct sqlite *db, size_t number, struct error *err)
{
    char set_version[64];
    int r = execute(db, "BEGIN IMMEDIATE", err);

    if (r < 0)
        return r;
    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %zu", number + 1);
    r = execute(db, db_sqlite_migrations[number].sql, err);
    if (r == 0)
        r = execute(db, set_version, err);
    if (r == 0)
        r = execute(db, "COMMIT", err);
    if (r < 0)
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int migrate(struct sqlite *db, struct error *err)
{
    int64_t version = 0;
    int r = read_version(db, &version, err);

    if (r == 0)
        r = db_newer_schema(version, db_sqlite_versions, err);
    for (size_t i = (size_t)version; r == 0 && i < db_sqlite_versions; i++)
        r = apply(db, i, err);
    return r;
}

static int set_up(struct sqlite *db, struct error *err)
{
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    int r = execute(db,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                    "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;"
                    "PRAGMA trusted_schema = OFF;"
                    /* the confined program has no folder for temporary files */
                    "PRAGMA temp_store = MEMORY;",
                    err);
    if (r == 0)
        r = add_functions(db, err);
    if (r == 0)
        r = migrate(db, err);
    if (r == 0)
        sqlite3_set_authorizer(db->handle, authorize, db);
    return r;
}

static int sqlite_open(struct db *base, const char *url, struct error *err)
{
    const char *path = url + strlen("sqlite:");
    struct sqlite *db = calloc(1, sizeof(*db));

    if (!db)
        return error_oom(err);
    int code = sqlite3_open_v2(
        path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    int r = code == SQLITE_OK ? set_up(db, err) : fail(db->handle, err);
    if (r < 0) {
        error_prefix(err, "database `%s`", path);
        sqlite3_close(db->handle);
        free(db);
        return r;
    }
    base->data = db;
    return 0;
}

static void sqlite_close(struct db *base)
{
    struct sqlite *db = base->data;

    sqlite3_close(db->handle);
    free(db);
}

static int sqlite_check(struct db *base, struct error *err)
{
    int64_t version;

    return read_version(base->data, &version, err);
}

/* ---- transactions -----------------------------------------------------------------------------
 */

static int bind_argument(sqlite3_stmt *statement, int place, const struct db_argument *argument)
{
    if (argument->type == 't')
        return sqlite3_bind_text(statement, place, argument->text, -1, SQLITE_STATIC);
    return sqlite3_bind_int64(statement, place, strtoll(argument->text, NULL, 10));
}

/* `$3` is a name to SQLite, so the order in the text does not matter. */
static int bind(sqlite3_stmt *statement, const struct db_statement *query)
{
    char name[24];

    for (size_t i = 0; i < query->n_arguments; i++) {
        snprintf(name, sizeof(name), "$%zu", i + 1);
        int place = sqlite3_bind_parameter_index(statement, name);
        int code = place ? bind_argument(statement, place, &query->arguments[i]) : SQLITE_OK;
        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}

static int take_row(sqlite3_stmt *statement, struct db_result *result)
{
    size_t columns = (size_t)sqlite3_column_count(statement);

    if (db_result_grow(result, columns) < 0)
        return -ENOMEM;
    char **row = result->values + (result->rows - 1) * columns;
    for (size_t i = 0; i < columns; i++) {
        const char *text = (const char *)sqlite3_column_text(statement, (int)i);
        if (text && !(row[i] = strdup(text)))
            return -ENOMEM;
    }
    return 0;
}

static int run_statement(struct sqlite *db, const struct db_statement *query,
                         struct db_result *result, struct error *err)
{
    cleanup_statement *statement = NULL;
    int code = sqlite3_prepare_v2(db->handle, query->sql, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = bind(statement, query);
    if (code == SQLITE_OK)
        while ((code = sqlite3_step(statement)) == SQLITE_ROW)
            if (take_row(statement, result) < 0)
                return error_oom(err);
    return code == SQLITE_OK || code == SQLITE_DONE ? 0 : fail(db->handle, err);
}

static int run_statements(struct sqlite *db, struct db_tx *tx, struct error *err)
{
    int r = execute(db, "BEGIN IMMEDIATE", err);

    for (size_t i = 0; r == 0 && i < tx->n_statements; i++)
        r = run_statement(db, &tx->statements[i], &tx->results[i], err);
    if (r == 0)
        r = execute(db, "COMMIT", err);
    if (r < 0 && !sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static void sqlite_run(struct db *base, struct db_tx *tx)
{
    struct sqlite *db = base->data;
    struct error err = ERROR_NONE;

    db->tx = tx;
    int r = run_statements(db, tx, &err);
    db->tx = NULL;
    db_finish(tx, r < 0 ? &err : NULL);
}

const struct db_driver db_sqlite = {
    .schemes = {"sqlite"},
    .open = sqlite_open,
    .close = sqlite_close,
    .check = sqlite_check,
    .run = sqlite_run,
};
