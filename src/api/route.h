/* Routes as data: method, path pattern, who may, what body, which query. Matching, 404 and 405 with
 * Allow, authorisation, decoding of query and body all derive from the table. */
#pragma once

#include "base/fields.h"

#include <stdbool.h>

struct http_request;

enum method { METHOD_NONE, METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE };

enum body_kind {
    BODY_NONE,   /* read and dropped */
    BODY_JSON,   /* an object; no body at all counts as {} */
    BODY_STREAM, /* handed on as it comes in; the handler runs before it is read */
};

enum scope {
    SCOPE_READ = 1u << 0,
    SCOPE_SANDBOXES = 1u << 1,
    SCOPE_ADMIN = 1u << 2,
};

enum route_flags {
    ROUTE_PUBLIC = 1u << 0,    /* no authentication */
    ROUTE_WEBSOCKET = 1u << 1, /* answers with an upgrade only */
    ROUTE_LABELS = 1u << 2,    /* takes `label` several times */
    ROUTE_SECRET = 1u << 3,    /* the body holds a password: small, wiped, and never quoted */
    ROUTE_AUDITED = 1u << 4,   /* a GET that leads to changes: see route_is_audited */
};

struct schema {
    const struct field *fields;
    size_t n_fields;
};

#define SCHEMA(table)                                                                              \
    {                                                                                              \
        table, sizeof(table) / sizeof((table)[0])                                                  \
    }

#define ROUTE_CAPTURES 2u
#define ROUTE_DATA_MAX 256u /* bytes of a decoded query or body */

struct route {
    enum method method;
    const char *pattern; /* "/v1/sandboxes/{id}": `{id}` is always a sandbox of the caller */
    enum scope scope;
    enum body_kind body_kind;
    unsigned int flags;
    struct schema query, body;
    /* 0: answered, or will be; a negative errno with `err` set is answered by the caller. `query`
     * and `body` are the decoded structs and live as long as the request. */
    int (*handler)(struct http_request *request, void *query, void *body, struct error *err);
};

extern const struct route routes[];
extern const size_t n_routes;

struct route_match {
    const struct route *route;            /* NULL: see `allowed` */
    const char *captures[ROUTE_CAPTURES]; /* borrowed from the segments, in order */
    unsigned int allowed;                 /* bit 1 << method of what the path knows */
};

/* HEAD matches as GET: callers map it before. */
void route_match(const struct route *table, size_t n_table, enum method method,
                 const char *const *segments, size_t n_segments, struct route_match *ret_match);

/* METHOD_NONE when it is not known; HEAD gives METHOD_GET. */
enum method method_parse(const char *text);

const char *method_name(enum method method);

/* "GET, HEAD, PUT" into a buffer. */
void method_list(unsigned int allowed, char *text, size_t size);

/* True when the pattern's first capture is `{id}`. */
bool route_has_sandbox(const struct route *route);

/* Whether its requests leave records in the audit trail: every method but GET does. */
bool route_is_audited(const struct route *route);
