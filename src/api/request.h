/* One HTTP request from its first byte to its answer. Handlers see only this header: they answer at
 * once or later, from any callback; in between the connection is suspended, and the request stays
 * in memory until it has been answered. */
#pragma once

#include "api/api.h"
#include "api/auth.h"
#include "api/http.h"
#include "api/route.h"
#include "api/uri.h"

#include <microhttpd.h>

struct http_listener;

enum request_phase {
    PHASE_NEW,
    PHASE_ADMISSION, /* who it is and whether it may: the database may have to be asked */
    PHASE_OPENING,   /* BODY_STREAM: the handler prepares */
    PHASE_ACCEPTED,  /* ... and wants the body */
    PHASE_BODY,
    PHASE_REFUSED, /* answer is ready; the rest of the body is read and dropped */
    PHASE_HANDLING,
    PHASE_ANSWERED,
    PHASE_DONE,
};

struct http_header {
    char name[32], value[192];
};

#define REQUEST_HEADERS 8u

struct http_request {
    struct api *api;
    struct MHD_Connection *connection;
    struct http_listener *listener;
    enum http_transport transport;
    const struct route *route;
    const char *captures[ROUTE_CAPTURES];
    struct uri uri;
    struct error uri_error; /* why the target was refused; err == 0: it was not */
    struct principal who;
    char id[17];
    int64_t started_ms; /* CLOCK_MONOTONIC */
    enum request_phase phase;
    bool head, suspended;
    bool admission, admitted; /* not over yet; went well */
    struct error refusal;     /* err != 0: known from the head, told once it is known who asks */

    char *body;
    size_t body_length, body_size;
    json_t *query_json, *body_json;
    union {
        char bytes[ROUTE_DATA_MAX];
        max_align_t align;
    } query_data, body_data;
    /* BODY_STREAM: takes the bytes; `length` 0 is the end. Set by the handler. */
    int (*body_write)(struct http_request *request, const void *data, size_t length,
                      struct error *err);

    struct MHD_Response *response;
    unsigned int status;
    char error_code[sizeof(((struct error *)0)->code)]; /* of the answer, or "" */
    bool audited;                                       /* has left its record */
    struct http_header headers[REQUEST_HEADERS];
    size_t n_headers;

    sd_event_source *hangup, *expiry;
    void (*abort)(struct http_request *request);
    void *state; /* the handler's own */
    void (*state_free)(void *state);
    struct http_request *next, *previous;
};

/* Answers. `value` is stolen; NULL means out of memory. */
void http_reply(struct http_request *request, unsigned int status, json_t *value);
/* `text` is stolen, as above. */
void http_reply_text(struct http_request *request, unsigned int status, const char *type,
                     char *text);
void http_reply_empty(struct http_request *request, unsigned int status);
void http_fail(struct http_request *request, const struct error *err);

/* Any other response; stolen, NULL means out of memory. */
void http_respond(struct http_request *request, unsigned int status, struct MHD_Response *response);

/* A header of the answer to come. What does not fit is left out whole. */
void http_header(struct http_request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* BODY_STREAM: the handler is ready; body_write gets the bytes. */
void http_accept_body(struct http_request *request);

/* `abort` ends the request's work early: the program stops, or the client went away. It must lead
 * to an answer or to the end of a streamed one. */
void http_on_abort(struct http_request *request, void (*abort)(struct http_request *));

/* Aborts as soon as the client goes away; ends with the answer. */
int http_watch_hangup(struct http_request *request);

/* For answers that are streamed: from inside the content reader / when there is more. */
void http_pause(struct http_request *request);
void http_continue(struct http_request *request);

/* A header of the request, or NULL. */
const char *http_get_header(struct http_request *request, const char *name);

/* For http.c: the life cycle as libmicrohttpd drives it. */
struct http_request *request_begin(struct api *api, struct http_listener *listener,
                                   enum http_transport transport, const char *target);
enum MHD_Result request_step(struct http_request *request, struct MHD_Connection *connection,
                             const char *method, const char *data, size_t *data_length);
void request_end(struct http_request *request);
