/* The database, whichever it is: transactions of statements that are all known beforehand, run in
 * order, all or nothing. The SQL is the same for both drivers; where the two differ the schema
 * bridges it (functions ms(), from_ms() and gen_random_uuid(), see sql/).
 *
 * Placeholders are $1, $2, ...; values travel as text, results come back as text. Times are
 * milliseconds since the epoch on this side, whatever the column's type.
 *
 * Who asks is part of a transaction. DB_SERVICE sees every row. DB_USER sees its own only, and that
 * is enforced below this interface: by row-level security in PostgreSQL, by views in SQLite. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct db;
struct db_tx;

#define DB_USER_SIZE 37 /* a UUID and NUL */

enum db_actor {
    DB_SERVICE,
    DB_USER,
};

/* The rows of one statement; what an INSERT, UPDATE or DELETE changed is told by its RETURNING. */
struct db_result {
    size_t rows, columns;
    char **values; /* rows * columns; NULL is SQL's NULL */
};

static inline const char *db_text(const struct db_result *result, size_t row, size_t column)
{
    return result->values[row * result->columns + column];
}

/* The same copied, cut to `size`; "" for NULL. */
void db_copy_text(const struct db_result *result, size_t row, size_t column, char *target,
                  size_t size);

/* 0 for NULL and for what is no number. */
int64_t db_int(const struct db_result *result, size_t row, size_t column);

/* `results` has one entry a statement, and lives as long as the call; NULL after a failure, with
 * `err`. Codes: "database_unavailable" (EAGAIN: not reached, or not within 10 s),
 * "database_outcome" (EAGAIN: the connection broke in between, it may or may not have happened),
 * "duplicate" (EEXIST), "reference" (ENOENT: a row that is referred to is not there), "forbidden"
 * (EACCES: row-level security), "database" (EIO and others). */
typedef void (*db_done_fn)(void *userdata, const struct db_result *results,
                           const struct error *err);

/* "sqlite:/path" or "postgresql://…", with `pool` connections at most (1..64). SQLite is opened and
 * its schema brought up to date at once; PostgreSQL in the background, again and again until it is
 * there. -EINVAL: no driver for the scheme; -EOPNOTSUPP, code "newer_schema". */
int db_open(sd_event *event, const char *url, unsigned int pool, struct db **ret_db,
            struct error *err);
/* Whatever still waits is told that the database is unavailable, and so is whatever comes. NULL is
 * fine. */
void db_abandon(struct db *db);
/* The same, and frees it. */
void db_close(struct db *db);

/* 0 when the database answers; else why not. */
int db_check(struct db *db, struct error *err);

/* `user` is a UUID, for DB_USER only. NULL when out of memory. */
struct db_tx *db_begin(enum db_actor actor, const char *user);

/* A statement. `types`: a letter an argument: t const char * (NULL: SQL's NULL), i int64_t, b int
 * as a truth value. Running out of memory is told by the end of the transaction. */
void db_add(struct db_tx *tx, const char *sql, const char *types, ...);

/* To be run again when the connection broke and the outcome is unknown: for transactions that do no
 * harm twice. */
void db_repeatable(struct db_tx *tx);

/* Runs and frees it. `done` (may be NULL) is called once: before this returns or later. */
void db_run(struct db *db, struct db_tx *tx, db_done_fn done, void *userdata);
