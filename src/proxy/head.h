/* Heads of requests and responses, read strictly: what two parsers could read in two ways is
 * refused. Spans point into the text that was parsed. */
#pragma once

#include "proxy/host.h"
#include "proxy/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The fields that the proxy knows by name. */
enum field_name {
    NAME_OTHER,
    NAME_ACCEPT,
    NAME_ACCEPT_ENCODING,
    NAME_ALLOW_ORIGIN, /* and Timing-Allow-Origin */
    NAME_AUTHORIZATION,
    NAME_CONDITION, /* that a document which is not the dev server's own cannot meet */
    NAME_CONNECTION,
    NAME_CONTENT_ENCODING,
    NAME_CONTENT_LENGTH,
    NAME_CONTENT_TYPE,
    NAME_COOKIE,
    NAME_CSP, /* Content-Security-Policy */
    NAME_CSP_REPORT_ONLY,
    NAME_DATE,
    NAME_FORWARDED,     /* Forwarded, X-Forwarded-*, X-Real-IP */
    NAME_FRAME_OPTIONS, /* X-Frame-Options */
    NAME_HOP,           /* any other field for one connection or one origin alone */
    NAME_HOST,
    NAME_HSTS,     /* Strict-Transport-Security */
    NAME_LOCATION, /* and Content-Location */
    NAME_ORIGIN,
    NAME_PREVIEW_TOKEN, /* ours: access.h */
    NAME_REFERER,
    NAME_REFRESH,
    NAME_REQUEST_HEADERS, /* Access-Control-Request-Headers */
    NAME_REQUEST_METHOD,  /* Access-Control-Request-Method */
    NAME_SET_COOKIE,
    NAME_SITE_WIDE, /* rules over all paths of a host */
    NAME_FETCH_DEST,
    NAME_FETCH_MODE,
    NAME_TRANSFER_ENCODING,
    NAME_UPGRADE,
    NAME_VALIDATOR, /* of the very bytes of the body: ETag, digests, Last-Modified */
    NAME_COUNT,
};

struct head_field {
    struct text name, value;
    enum field_name id;
};

enum head_body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct head {
    struct text method, target; /* requests */
    int status;                 /* responses */
    struct text reason;
    int minor; /* HTTP/1.minor: 0 or 1 */
    enum head_body body;
    uint64_t content_length; /* with BODY_LENGTH */
    bool keep_alive;         /* as this side asks or allows */
    bool upgrade;            /* Connection: upgrade and Upgrade: websocket */
    struct text host;        /* requests: value of Host, length 0 if absent */
    struct head_field fields[FIELDS_MAX];
    size_t n_fields;
};

/* Why a head is refused: a status to answer a client with, and a sentence. */
struct head_error {
    int status;
    const char *code, *message;
};

/* Length of the head up to and with its empty line; 0: not there yet; -EMSGSIZE: over HEAD_MAX.
 * `seen` bytes were looked at before in vain. */
int head_length(const char *text, size_t length, size_t seen);

/* `text` is exactly one head. 0 or -EPROTO with the error set. */
int head_parse_request(struct text text, struct head *ret_head, struct head_error *ret_error);
int head_parse_response(struct text text, struct head *ret_head, struct head_error *ret_error);

/* Whether a line of trailers, or several, are well formed and carry nothing that frames or routes.
 * `text` ends with the empty line. */
int trailers_check(struct text text);

/* Whether the request goes on as an upgrade: one with a body does not. */
static inline bool head_upgrades(const struct head *head)
{
    return head->upgrade && head->body != BODY_CHUNKED && head->content_length == 0;
}

/* Whether it is a token / what a field's value may be, so that it can be written into a head. */
bool head_is_token(struct text text);
bool head_is_value(struct text text);

/* The value of the first such field; length 0 if absent. */
struct text head_get(const struct head *head, enum field_name name);

/* Whether a comma-separated list holds the token, in any case. */
bool list_holds(struct text list, struct text token);

/* Whether a Connection field nominates this field as hop-by-hop. */
bool head_nominated(const struct head *head, struct text name);
