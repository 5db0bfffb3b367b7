/* Theory of operation: libpq without blocking, in pipeline mode. All statements of a transaction go
 * out together with one Sync: PostgreSQL runs what lies between two Syncs as one transaction, so it
 * costs one round trip. For a user the first statement sets role and claims for that transaction
 * only: from there on row-level security decides, not our WHERE. The Sync's own result is the
 * acknowledgement of the commit. */
#include "api/db/postgres.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#define CONNECT_TIMEOUT_US ((uint64_t)10 * 1000 * 1000)
#define BACKOFF_FIRST_US   ((uint64_t)50 * 1000)
#define BACKOFF_MAX_US     ((uint64_t)2 * 1000 * 1000)

/* A table of SQLSTATEs (PostgreSQL's appendix A): the whole code or its class. */
static const struct {
    const char *state;
    int err;
    const char *code;
} states[] = {
    {"23505", EEXIST, "duplicate"},         {"23503", ENOENT, "reference"},
    {"42501", EACCES, "forbidden"},         {"22", EINVAL, "invalid"},
    {"53100", ENOSPC, "database"},          {"53", EAGAIN, "database_unavailable"},
    {"57", EAGAIN, "database_unavailable"}, {"40", EAGAIN, "database_unavailable"},
    {"08", EAGAIN, "database_unavailable"},
};

int pg_error(struct pg_conn *conn, const PGresult *result, struct error *err)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorMessage(result) : PQerrorMessage(conn->handle);
    int length = (int)strcspn(text, "\n");

    for (size_t i = 0; state && i < ELEMENTS(states); i++)
        if (str_starts(state, states[i].state))
            return error_set_code(err, states[i].err, states[i].code, "PostgreSQL: %.*s", length,
                                  text);
    return state
               ? error_set_code(err, EIO, "database", "PostgreSQL: %.*s (%s)", length, text, state)
               : error_set_code(err, EAGAIN, "database_unavailable", "PostgreSQL: %.*s", length,
                                text);
}

void pg_disconnect(struct pg_conn *conn)
{
    conn->io = sd_event_source_disable_unref(conn->io);
    conn->timer = sd_event_source_disable_unref(conn->timer);
    PQfinish(conn->handle);
    conn->handle = NULL;
    conn->state = PG_DOWN;
    conn->step = 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct pg_conn *conn = userdata;

    (void)source;
    (void)usec;
    conn->timer = sd_event_source_disable_unref(conn->timer);
    pg_connect(conn);
    return 0;
}

static bool is_first(const struct pg_conn *conn)
{
    return conn == conn->pg->conns;
}

static void retry_later(struct pg_conn *conn)
{
    conn->backoff_us = conn->backoff_us ? conn->backoff_us * 2 : BACKOFF_FIRST_US;
    if (conn->backoff_us > BACKOFF_MAX_US)
        conn->backoff_us = BACKOFF_MAX_US;
    sd_event_add_time_relative(conn->pg->base->event, &conn->timer, CLOCK_MONOTONIC,
                               conn->backoff_us, 0, on_retry, conn);
}

static void release(struct pg_conn *conn, struct db_tx *tx)
{
    struct error err = ERROR_NONE;

    db_results_clear(tx);
    if (tx->repeatable && tx->deadline_ms > now_monotonic_ms()) {
        pg_requeue(conn->pg, tx);
        return;
    }
    error_set_code(&err, EAGAIN, "database_outcome",
                   "the connection to the database broke: it is not known whether this was done");
    db_finish(tx, &err);
}

void pg_broken(struct pg_conn *conn, const struct error *err)
{
    struct pg *pg = conn->pg;
    struct db_tx *tx = TAKE_PTR(conn->tx);

    if (!str_equal(pg->reason.message, err->message))
        log_warning("database: %s", err->message);
    pg->reason = *err;
    pg_disconnect(conn);
    /* a newer schema does not go away; the others are opened when there is work for them */
    if (err->err != EOPNOTSUPP && (is_first(conn) || pg->first || tx))
        retry_later(conn);
    if (tx)
        release(conn, tx);
    pg_serve(pg);
}

static void broken_by(struct pg_conn *conn, const PGresult *result)
{
    struct error err = ERROR_NONE;

    pg_error(conn, result, &err);
    pg_broken(conn, &err);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata);

static void watch(struct pg_conn *conn, uint32_t events)
{
    int fd = PQsocket(conn->handle);

    /* libpq may have taken another socket */
    if (conn->io && sd_event_source_get_io_fd(conn->io) == fd) {
        sd_event_source_set_io_events(conn->io, events);
        return;
    }
    conn->io = sd_event_source_disable_unref(conn->io);
    if (sd_event_add_io(conn->pg->base->event, &conn->io, fd, events, on_io, conn) < 0)
        broken_by(conn, NULL);
}

void pg_flush(struct pg_conn *conn)
{
    int r = PQflush(conn->handle);

    if (r < 0)
        broken_by(conn, NULL);
    else
        watch(conn, EPOLLIN | (r > 0 ? EPOLLOUT : 0));
}

/* ---- coming up ----------------------------------------------------------------------------------
 */

static int on_connect_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct error err = ERROR_NONE;

    (void)source;
    (void)usec;
    error_set_code(&err, EAGAIN, "database_unavailable", "PostgreSQL: no connection within 10 s");
    pg_broken(userdata, &err);
    return 0;
}

static void become_idle(struct pg_conn *conn)
{
    conn->timer = sd_event_source_disable_unref(conn->timer);
    conn->backoff_us = 0;
    if (!PQenterPipelineMode(conn->handle)) {
        broken_by(conn, NULL);
        return;
    }
    if (conn->pg->reason.err)
        log_info("database: connected");
    conn->pg->reason = ERROR_NONE;
    conn->state = PG_IDLE;
    watch(conn, EPOLLIN);
    pg_serve(conn->pg);
}

static void set_up(struct pg_conn *conn)
{
    struct error err = ERROR_NONE;
    int r = pg_set_up_next(conn, &err);

    if (r < 0)
        pg_broken(conn, &err);
    else if (r == 1)
        become_idle(conn);
    else
        pg_flush(conn);
}

static void go_on_connecting(struct pg_conn *conn)
{
    PostgresPollingStatusType status = PQconnectPoll(conn->handle);

    if (status == PGRES_POLLING_FAILED) {
        broken_by(conn, NULL);
        return;
    }
    if (status != PGRES_POLLING_OK) {
        watch(conn, status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT);
        return;
    }
    PQsetnonblocking(conn->handle, 1);
    conn->state = PG_SETTING_UP;
    conn->step = 0;
    set_up(conn);
}

static void ignore_notice(void *userdata, const PGresult *result)
{
    (void)userdata;
    (void)result;
}

void pg_connect(struct pg_conn *conn)
{
    static const char *const names[] = {"dbname", "fallback_application_name", "client_encoding",
                                        "tcp_user_timeout", NULL};
    const char *const values[] = {conn->pg->url, "auracode", "UTF8", "10000", NULL};

    conn->handle = PQconnectStartParams(names, values, 1);
    conn->state = PG_CONNECTING;
    if (!conn->handle || PQstatus(conn->handle) == CONNECTION_BAD) {
        broken_by(conn, NULL);
        return;
    }
    PQsetNoticeReceiver(conn->handle, ignore_notice, NULL);
    sd_event_add_time_relative(conn->pg->base->event, &conn->timer, CLOCK_MONOTONIC,
                               CONNECT_TIMEOUT_US, 0, on_connect_timeout, conn);
    watch(conn, EPOLLOUT);
}

/* ---- a transaction ------------------------------------------------------------------------------
 */

#define AS_USER                                                                                    \
    "SELECT set_config('role', 'authenticated', true), "                                           \
    "set_config('request.jwt.claims', json_build_object('sub', $1::text, 'role', "                 \
    "'authenticated')::text, true)"

static bool send_statement(struct pg_conn *conn, const struct db_statement *statement)
{
    const char *values[DB_ARGUMENTS_MAX];

    for (size_t i = 0; i < statement->n_arguments; i++)
        values[i] = statement->arguments[i].text;
    return PQsendQueryParams(conn->handle, statement->sql, (int)statement->n_arguments, NULL,
                             values, NULL, NULL, 0);
}

static bool send_all(struct pg_conn *conn, const struct db_tx *tx)
{
    const char *user = tx->user;

    if (tx->actor == DB_USER &&
        !PQsendQueryParams(conn->handle, AS_USER, 1, NULL, &user, NULL, NULL, 0))
        return false;
    for (size_t i = 0; i < tx->n_statements; i++)
        if (!send_statement(conn, &tx->statements[i]))
            return false;
    return PQpipelineSync(conn->handle);
}

void pg_send(struct pg_conn *conn, struct db_tx *tx)
{
    conn->state = PG_BUSY;
    conn->tx = tx;
    conn->step = 0;
    conn->failure = ERROR_NONE;
    if (send_all(conn, tx))
        pg_flush(conn);
    else
        broken_by(conn, NULL);
}

static int copy_rows(struct db_result *target, const PGresult *result)
{
    size_t rows = (size_t)PQntuples(result), columns = (size_t)PQnfields(result);

    if (db_result_alloc(target, rows, columns) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            if (!PQgetisnull(result, (int)i, (int)j) &&
                !(target->values[i * columns + j] = strdup(PQgetvalue(result, (int)i, (int)j))))
                return -ENOMEM;
    return 0;
}

static void take_result(struct pg_conn *conn, const PGresult *result)
{
    struct db_tx *tx = conn->tx;
    size_t first = tx->actor == DB_USER ? 1 : 0, number = conn->step++;
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_PIPELINE_ABORTED || conn->failure.err)
        return;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        pg_error(conn, result, &conn->failure);
    else if (number >= first && number - first < tx->n_statements &&
             copy_rows(&tx->results[number - first], result) < 0)
        error_oom(&conn->failure);
}

static void end_transaction(struct pg_conn *conn)
{
    struct pg *pg = conn->pg;
    struct db_tx *tx = TAKE_PTR(conn->tx);
    struct error failure = conn->failure;

    conn->state = PG_IDLE;
    /* the next goes out before this one is told */
    pg_serve(pg);
    db_finish(tx, failure.err ? &failure : NULL);
}

/* Results until libpq has to read more. The connection may be another's after the end of a
 * transaction. */
static void take_results(struct pg_conn *conn)
{
    bool was_null = false;

    while (conn->state == PG_BUSY && !PQisBusy(conn->handle)) {
        PGresult *result = PQgetResult(conn->handle);
        if (!result && was_null)
            return;
        was_null = !result;
        if (!result)
            continue;
        bool is_sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (!is_sync)
            take_result(conn, result);
        PQclear(result);
        if (is_sync) {
            end_transaction(conn);
            return;
        }
    }
}

static void take_set_up_results(struct pg_conn *conn)
{
    struct error err = ERROR_NONE;
    PGresult *result = NULL;
    int r = 0;

    while (r == 0 && !PQisBusy(conn->handle) && (result = PQgetResult(conn->handle))) {
        r = pg_set_up_result(conn, result, &err);
        PQclear(result);
    }
    if (r < 0)
        pg_broken(conn, &err);
    else if (!PQisBusy(conn->handle))
        set_up(conn);
    else
        pg_flush(conn);
}

static void take_input(struct pg_conn *conn)
{
    if (!PQconsumeInput(conn->handle)) {
        broken_by(conn, NULL);
        return;
    }
    if (conn->state == PG_SETTING_UP)
        take_set_up_results(conn);
    else if (conn->state == PG_BUSY)
        take_results(conn);
    /* libpq notices the end of a connection when it reads results */
    if (conn->handle && PQstatus(conn->handle) == CONNECTION_BAD)
        broken_by(conn, NULL);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct pg_conn *conn = userdata;

    (void)source;
    (void)fd;
    if (conn->state == PG_CONNECTING) {
        go_on_connecting(conn);
        return 0;
    }
    if (events & EPOLLOUT)
        pg_flush(conn);
    if (conn->handle && (events & ~(uint32_t)EPOLLOUT))
        take_input(conn);
    return 0;
}
