/* For the drivers of db.h: what a transaction consists of, and how it ends. */
#pragma once

#include "api/db/db.h"

#define DB_STATEMENTS_MAX 6u
#define DB_ARGUMENTS_MAX  16u
#define DB_TIMEOUT_US     ((uint64_t)10 * 1000 * 1000)

struct db_argument {
    char type;
    char *text; /* NULL: SQL's NULL */
};

struct db_statement {
    const char *sql; /* static */
    struct db_argument arguments[DB_ARGUMENTS_MAX];
    size_t n_arguments;
};

struct db_tx {
    struct db_tx *next;
    enum db_actor actor;
    char user[DB_USER_SIZE];
    struct db_statement statements[DB_STATEMENTS_MAX];
    struct db_result results[DB_STATEMENTS_MAX];
    size_t n_statements;
    bool failed; /* could not be built */
    bool repeatable;
    int64_t deadline_ms; /* CLOCK_MONOTONIC */
    db_done_fn done;
    void *userdata;
};

struct db_driver {
    const char *schemes[2]; /* up to the colon; a second one may be NULL */
    int (*open)(struct db *db, const char *url, struct error *err);
    void (*abandon)(struct db *db); /* NULL: nothing ever waits */
    void (*close)(struct db *db);
    int (*check)(struct db *db, struct error *err);
    void (*run)(struct db *db, struct db_tx *tx);
};

struct db {
    const struct db_driver *driver;
    sd_event *event;
    unsigned int pool;
    void *data;
};

extern const struct db_driver db_sqlite, db_postgres;

/* Room for `rows` rows of a result, all values NULL. */
int db_result_alloc(struct db_result *result, size_t rows, size_t columns);
/* Another row at its end. */
int db_result_grow(struct db_result *result, size_t columns);
void db_results_clear(struct db_tx *tx);

/* Tells `done` and frees the transaction. */
void db_finish(struct db_tx *tx, const struct error *err);

/* A version of the schema: applied in order, each in a transaction. */
struct db_migration {
    const char *sql;
};
extern const struct db_migration db_sqlite_migrations[], db_postgres_migrations[];
extern const size_t db_sqlite_versions, db_postgres_versions;

int db_newer_schema(int64_t found, size_t known, struct error *err);
