/* The answering side of an IPC connection: requests checked against a table before any handler
 * runs.
 *
 * Request  {"id":7,"op":"sandbox.get", ...fields of the op...}
 * Answer   {"id":7,"ok":{...}} or {"id":7,"error":{...}} (error.h)
 * Event    {"event":"process.exit", ...}
 *
 * The table says, for each operation, which roles may ask, in which states, and which fields it
 * takes. An operation outside the table, the caller's role or the present state, a malformed field
 * or an excess descriptor is answered with an error before any handler runs; a packet that is no
 * request at all, or whose id is still unanswered, ends the connection.
 *
 * A peer cannot make us grow: while answers wait for it no further request is read, one request
 * more than SERVER_OUTSTANDING_MAX is refused, and a peer that lets events pile up (ipc.h) is given
 * up. */
#pragma once

#include "base/fields.h"
#include "base/ipc.h"

#define SERVER_PARAMS_MAX      256u /* bytes of a params struct */
#define SERVER_OUTSTANDING_MAX 1024u

/* States, a mask. Those of the connection are bits here; those of what an operation is about (a
 * sandbox, the init) are the program's own, from STATE_OF(0) on, checked by its `admit`. */
#define STATE_NEW   (1u << 0) /* before the connection's hello */
#define STATE_READY (1u << 1) /* after it, and nothing else matters */
#define STATE_OF(n) (1u << (8 + (n)))

struct server_conn;
struct server_op;

struct request {
    struct server_conn *conn; /* NULL once the connection has ended */
    json_int_t id;
    json_t *body; /* the whole request; strings in params point into it */
    struct ipc_fds fds;
    void *subject; /* what `admit` found the request to be about */
    struct request *next, *previous;
};

/* The program's part of the check: finds what the request is about, puts it in request->subject and
 * refuses a state that op->states does not name. Runs after the fields are decoded. */
typedef int (*server_admit_fn)(struct request *request, const struct server_op *op, void *params,
                               struct error *err);

struct server_op {
    const char *name;
    unsigned int roles; /* bit mask, meaning defined by the program */
    unsigned int
        states; /* STATE_*; 0: never legal. An answered STATE_NEW operation ends that state */
    const struct field *fields;
    size_t n_fields;
    size_t max_fds;
    /* `params`: SERVER_PARAMS_MAX zeroed bytes, filled from the fields. Returns 0 when it has
     * answered or will (request_reply/request_fail), a negative errno with `err` set to have the
     * server answer. */
    int (*handler)(struct request *request, void *params, struct error *err);
};

struct server_conn {
    struct ipc ipc;
    unsigned int role;
    bool greeted; /* has said hello */
    const struct server_op *ops;
    size_t n_ops;
    server_admit_fn admit;
    void *userdata;
    struct request *requests; /* not yet answered */
    size_t n_requests;
};

/* Takes `fd`. `admit` may be NULL when no operation has states of the program's own. */
void server_conn_init(struct server_conn *conn, int fd, unsigned int role,
                      const struct server_op *ops, size_t n_ops, server_admit_fn admit,
                      void *userdata);

/* Call when the descriptor is readable or writable. Handles at most 32 requests, so that one busy
 * peer cannot starve the others. Returns a negative errno when the connection is over; the caller
 * then calls server_conn_close (never from inside a handler). */
int server_conn_dispatch(struct server_conn *conn);

/* Unanswered requests stay valid for their holders with conn == NULL. */
void server_conn_close(struct server_conn *conn);

/* Answers and frees the request. `result` is stolen; NULL means {}. Descriptors are borrowed. */
void request_reply(struct request *request, json_t *result, const int *fds, size_t n_fds);
void request_fail(struct request *request, const struct error *err);

/* `event` is stolen: {"event":"name",...}. A peer that has let too many pile up is disconnected:
 * its next dispatch says so. */
int server_conn_event(struct server_conn *conn, json_t *event);
