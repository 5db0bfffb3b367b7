/* Theory of operation: a new connection first takes our search path; the first one of the process
 * also brings the schema up to date, under an advisory lock, since several programs may share a
 * database. Each version is one simple query, and so one transaction: half of it is never there. */
#include "api/db/postgres.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>

/* Arbitrary, but ours: "aura". */
#define LOCK "1635087969"

static const char set_session[] = "SET search_path TO auracode, public, pg_temp;"
                                  "SET statement_timeout TO '10s'";
static const char find_version[] =
    "SET lock_timeout TO '60s';"
    "SELECT pg_advisory_lock(" LOCK ");"
    "CREATE SCHEMA IF NOT EXISTS auracode;"
    "CREATE TABLE IF NOT EXISTS auracode.schema_versions"
    " (version bigint PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
    "SELECT coalesce(max(version), 0) AS schema_version FROM auracode.schema_versions";
static const char unlock[] = "SELECT pg_advisory_unlock(" LOCK "); RESET lock_timeout";

/* Steps: 0 asks for the version, 1..n bring each version that is missing, n + 1 unlocks, n + 2 sets
 * the session; a process that has the schema starts at the last. */
enum { STEP_VERSION = 0 };

static size_t step_unlock(void)
{
    return db_postgres_versions + 1;
}

static int send(struct pg_conn *conn, const char *sql, struct error *err)
{
    return PQsendQuery(conn->handle, sql) ? 0 : pg_error(conn, NULL, err);
}

static int send_version(struct pg_conn *conn, size_t version, struct error *err)
{
    cleanup_free char *sql =
        str_format("BEGIN;%s;INSERT INTO auracode.schema_versions VALUES (%zu);COMMIT",
                   db_postgres_migrations[version - 1].sql, version);

    return sql ? send(conn, sql, err) : error_oom(err);
}

int pg_set_up_next(struct pg_conn *conn, struct error *err)
{
    if (conn->pg->has_schema && conn->step < step_unlock())
        conn->step = step_unlock() + 1;
    size_t step = conn->step++;

    if (step == STEP_VERSION)
        return send(conn, find_version, err);
    if (step < step_unlock())
        return send_version(conn, step, err);
    if (step == step_unlock())
        return send(conn, unlock, err);
    conn->pg->has_schema = true;
    return step == step_unlock() + 1 ? send(conn, set_session, err) : 1;
}

int pg_set_up_result(struct pg_conn *conn, const PGresult *result, struct error *err)
{
    ExecStatusType status = PQresultStatus(result);
    uint64_t version;

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        return pg_error(conn, result, err);
    if (PQntuples(result) != 1 || !str_equal(PQfname(result, 0), "schema_version"))
        return 0;
    if (parse_u64(PQgetvalue(result, 0, 0), 0, INT64_MAX, &version) < 0)
        return error_set_code(err, EIO, "database", "the database's schema version is no number");
    int r = db_newer_schema((int64_t)version, db_postgres_versions, err);
    conn->step = (size_t)version + 1;
    return r;
}
