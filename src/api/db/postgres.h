/* The PostgreSQL driver's parts: postgres.c holds the queue and the pool, pg-conn.c one connection,
 * pg-schema.c the schema's versions. */
#pragma once

#include "api/db/driver.h"

#include <libpq-fe.h>

enum pg_state {
    PG_DOWN,       /* waits for its next try */
    PG_CONNECTING, /* libpq's handshake */
    PG_SETTING_UP, /* schema and session, by simple queries */
    PG_IDLE,
    PG_BUSY, /* with `tx` */
};

struct pg;

struct pg_conn {
    struct pg *pg;
    enum pg_state state;
    PGconn *handle;
    sd_event_source *io, *timer;
    uint64_t backoff_us;
    size_t step; /* of the set-up, or the number of the next result of `tx` */
    struct db_tx *tx;
    struct error failure; /* of `tx` */
};

struct pg {
    struct db *base;
    char *url;
    struct pg_conn *conns; /* base->pool of them */
    struct db_tx *first, **last;
    size_t n_queued;
    bool has_schema; /* brought up to date by this process */
    bool closing;
    struct error reason; /* why there is no connection */
    sd_event_source *expiry;
};

/* pg-conn.c */
void pg_connect(struct pg_conn *conn);
void pg_disconnect(struct pg_conn *conn);
/* Closes it, gives its transaction back to the queue or fails it, and tries again later. */
void pg_broken(struct pg_conn *conn, const struct error *err);
/* Idle -> busy. */
void pg_send(struct pg_conn *conn, struct db_tx *tx);
/* Sends what libpq holds and watches for what is to come. */
void pg_flush(struct pg_conn *conn);
/* Of a result or of the connection. Returns the negative errno. */
int pg_error(struct pg_conn *conn, const PGresult *result, struct error *err);

/* pg-schema.c: the next simple query of the set-up, and its last result. 1: there is none left. */
int pg_set_up_next(struct pg_conn *conn, struct error *err);
int pg_set_up_result(struct pg_conn *conn, const PGresult *result, struct error *err);

/* postgres.c: it has become idle, or is down. */
void pg_serve(struct pg *pg);
void pg_requeue(struct pg *pg, struct db_tx *tx);
