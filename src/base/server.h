/* The answering side of an IPC connection: requests checked against a table before any handler
 * runs.
 *
 * Request  {"id":7,"op":"sandbox.get", ...fields of the op...}
 * Answer   {"id":7,"ok":{...}} or {"id":7,"error":{...}} (error.h)
 * Event    {"event":"process.exit", ...}
 *
 * The table says, for each operation, which roles may ask and which fields it takes. An operation
 * outside the table or the caller's role, a malformed field or an excess descriptor is answered
 * with an error; a packet that is no request at all ends the connection. */
#pragma once

#include "base/fields.h"
#include "base/ipc.h"

#define SERVER_PARAMS_MAX      256u /* bytes of a params struct */
#define SERVER_OUTSTANDING_MAX 1024u

struct server_conn;

struct request {
    struct server_conn *conn; /* NULL once the connection has ended */
    json_int_t id;
    json_t *body; /* the whole request; strings in params point into it */
    struct ipc_fds fds;
    struct request *next, *previous;
};

struct server_op {
    const char *name;
    unsigned int roles; /* bit mask, meaning defined by the program */
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
    const struct server_op *ops;
    size_t n_ops;
    void *userdata;
    struct request *requests; /* not yet answered */
    size_t n_requests;
};

/* Takes `fd`. */
void server_conn_init(struct server_conn *conn, int fd, unsigned int role,
                      const struct server_op *ops, size_t n_ops, void *userdata);

/* Call when the descriptor is readable or writable. Handles at most 32 requests, so that one busy
 * peer cannot starve the others. Returns a negative errno when the connection is over; the caller
 * then calls server_conn_close (never from inside a handler). */
int server_conn_dispatch(struct server_conn *conn);

/* Unanswered requests stay valid for their holders with conn == NULL. */
void server_conn_close(struct server_conn *conn);

/* Answers and frees the request. `result` is stolen; NULL means {}. Descriptors are borrowed. */
void request_reply(struct request *request, json_t *result, const int *fds, size_t n_fds);
void request_fail(struct request *request, const struct error *err);

/* `event` is stolen: {"event":"name",...}. */
int server_conn_event(struct server_conn *conn, json_t *event);
