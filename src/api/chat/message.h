/* The seed's messages: an envelope {id, type, timestamp, session_id, data} and a table of types. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CHAT_MESSAGE_MAX (1u << 20)   /* bytes of a message received */
#define CHAT_TEXT_MAX    (512u << 10) /* bytes of data.text */
#define CHAT_ID_MAX      128u

/* The two sides of a session. */
enum chat_role {
    CHAT_USER = 1u << 0,  /* a browser */
    CHAT_AGENT = 1u << 1, /* what builds for it */
};

enum chat_action {
    CHAT_KEEP,      /* kept in the database, then passed on */
    CHAT_PARTIAL,   /* passed on; the last one of an id also to those who come later */
    CHAT_PASS,      /* passed on */
    CHAT_COMPLETED, /* passed on once the dev server has settled */
    CHAT_FILES,     /* with files passed on, without them answered with the project's */
    CHAT_INIT,      /* answered with the session's sandbox */
    CHAT_PING,      /* answered with itself */
};

struct chat_type {
    const char *name;      /* as it is sent and passed on */
    const char *canonical; /* as it is kept; the same but for an alias */
    unsigned int from;     /* enum chat_role: who may send it */
    bool needs_text;       /* data.text */
    enum chat_action action;
};

struct chat_message {
    const struct chat_type *type;
    const char *id;      /* NULL: none */
    const char *session; /* NULL: none */
    const char *text;    /* data.text or NULL */
    int64_t timestamp_ms;
    json_t *data; /* object */
};

/* A message's fields, borrowed from `envelope`. Errors name the field, what is expected and the
 * limit. */
int chat_decode(const json_t *envelope, enum chat_role from, int64_t now_ms,
                struct chat_message *ret_message, struct error *err);

/* A message of ours: `data` is stolen. `id` NULL: a new one. NULL when out of memory. */
json_t *chat_envelope(const char *type, const char *id, const char *session, int64_t timestamp_ms,
                      json_t *data);

/* The id that a message is kept under: itself if it is a UUID, else one that follows from session
 * and id, so that the same message is the same row. */
int chat_row_id(const char *session, const char *id, char *ret_uuid);
