/* Theory of operation: see db.h. A transaction is built as data and handed to the driver, which
 * owns it until db_finish. */
#include "api/db/driver.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct db_driver *const drivers[] = {&db_sqlite, &db_postgres};

int64_t db_int(const struct db_result *result, size_t row, size_t column)
{
    const char *text = db_text(result, row, column);
    bool negative = text && *text == '-';
    uint64_t value;

    if (!text || parse_u64(text + negative, 0, INT64_MAX, &value) < 0)
        return 0;
    return negative ? -(int64_t)value : (int64_t)value;
}

void db_copy_text(const struct db_result *result, size_t row, size_t column, char *target,
                  size_t size)
{
    const char *text = db_text(result, row, column);

    snprintf(target, size, "%s", text ? text : "");
}

static bool has_scheme(const char *url, const char *scheme)
{
    size_t length = strlen(scheme);

    return strncmp(url, scheme, length) == 0 && url[length] == ':';
}

int db_open(sd_event *event, const char *url, unsigned int pool, struct db **ret_db,
            struct error *err)
{
    cleanup_free struct db *db = calloc(1, sizeof(*db));

    if (!db)
        return error_oom(err);
    db->event = event;
    db->pool = pool;
    for (size_t i = 0; i < ELEMENTS(drivers); i++)
        for (size_t j = 0; j < ELEMENTS(drivers[i]->schemes); j++)
            if (drivers[i]->schemes[j] && has_scheme(url, drivers[i]->schemes[j]))
                db->driver = drivers[i];
    if (!db->driver)
        return error_set_field(err, "database.url", "expected sqlite:/PATH or postgresql://…");
    int r = db->driver->open(db, url, err);
    if (r == 0)
        *ret_db = TAKE_PTR(db);
    return r;
}

void db_abandon(struct db *db)
{
    if (db && db->driver->abandon)
        db->driver->abandon(db);
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db->driver->close(db);
    free(db);
}

int db_check(struct db *db, struct error *err)
{
    return db->driver->check(db, err);
}

struct db_tx *db_begin(enum db_actor actor, const char *user)
{
    struct db_tx *tx = calloc(1, sizeof(*tx));

    if (tx) {
        tx->actor = actor;
        snprintf(tx->user, sizeof(tx->user), "%s", user ? user : "");
    }
    return tx;
}

static char *number_text(int64_t number)
{
    return str_format("%lld", (long long)number);
}

static void add_argument(struct db_tx *tx, struct db_statement *statement, char type,
                         const char *text, int64_t number)
{
    struct db_argument *argument = &statement->arguments[statement->n_arguments++];

    argument->type = type;
    if (type == 't' && !text)
        return;
    argument->text = type == 't'   ? strdup(text)
                     : type == 'b' ? strdup(number ? "1" : "0")
                                   : number_text(number);
    if (!argument->text)
        tx->failed = true;
}

void db_add(struct db_tx *tx, const char *sql, const char *types, ...)
{
    va_list arguments;

    if (!tx)
        return;
    if (tx->n_statements == DB_STATEMENTS_MAX || strlen(types) > DB_ARGUMENTS_MAX) {
        tx->failed = true;
        return;
    }
    struct db_statement *statement = &tx->statements[tx->n_statements++];
    statement->sql = sql;
    va_start(arguments, types);
    for (; *types; types++) {
        const char *text = *types == 't' ? va_arg(arguments, const char *) : NULL;
        int64_t number = *types == 'i'   ? va_arg(arguments, int64_t)
                         : *types == 'b' ? va_arg(arguments, int)
                                         : 0;
        add_argument(tx, statement, *types, text, number);
    }
    va_end(arguments);
}

void db_repeatable(struct db_tx *tx)
{
    if (tx)
        tx->repeatable = true;
}

void db_run(struct db *db, struct db_tx *tx, db_done_fn done, void *userdata)
{
    struct error err = ERROR_NONE;

    if (!tx) {
        error_oom(&err);
        if (done)
            done(userdata, NULL, &err);
        return;
    }
    tx->done = done;
    tx->userdata = userdata;
    tx->deadline_ms = now_monotonic_ms() + (int64_t)(DB_TIMEOUT_US / 1000);
    if (tx->failed) {
        error_oom(&err);
        db_finish(tx, &err);
        return;
    }
    db->driver->run(db, tx);
}

int db_result_alloc(struct db_result *result, size_t rows, size_t columns)
{
    result->values = calloc(rows * columns + 1, sizeof(char *));
    if (!result->values)
        return -ENOMEM;
    result->rows = rows;
    result->columns = columns;
    return 0;
}

int db_result_grow(struct db_result *result, size_t columns)
{
    size_t old = result->rows * columns;
    char **larger = reallocarray(result->values, old + columns + 1, sizeof(char *));

    if (!larger)
        return -ENOMEM;
    memset(larger + old, 0, (columns + 1) * sizeof(char *));
    result->values = larger;
    result->columns = columns;
    result->rows++;
    return 0;
}

void db_results_clear(struct db_tx *tx)
{
    for (size_t i = 0; i < DB_STATEMENTS_MAX; i++) {
        struct db_result *result = &tx->results[i];
        for (size_t j = 0; j < result->rows * result->columns; j++)
            free(result->values[j]);
        free(result->values);
        *result = (struct db_result){0};
    }
}

void db_finish(struct db_tx *tx, const struct error *err)
{
    if (tx->done)
        tx->done(tx->userdata, err ? NULL : tx->results, err);
    db_results_clear(tx);
    for (size_t i = 0; i < tx->n_statements; i++)
        for (size_t j = 0; j < tx->statements[i].n_arguments; j++)
            free(tx->statements[i].arguments[j].text);
    free(tx);
}

int db_newer_schema(int64_t found, size_t known, struct error *err)
{
    if (found >= 0 && (uint64_t)found <= known)
        return 0;
    return error_set_code(err, EOPNOTSUPP, "newer_schema",
                          "the database has schema %lld, this program knows up to %zu",
                          (long long)found, known);
}
