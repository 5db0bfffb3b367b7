/* Sessions and their chat messages: the seed's tables. `who` is the transaction's actor; for
 * DB_USER the database itself keeps others' rows away. */
#pragma once

#include "api/db/db.h"

#include <jansson.h>

struct who {
    enum db_actor actor;
    const char *user; /* UUID */
};

/* What a session is made with, and what a PATCH changes. NULL: not given; "": none (SQL's NULL),
 * but for the title. */
struct session_fields {
    const char *title, *description, *sandbox_id, *thumbnail, *iframe_url;
    int is_active; /* -1: not given */
};

/* Results: 0 nothing, 1 the session. "reference": the user has no row. */
void session_insert(struct db *db, const struct who *who, const char *id, const char *user,
                    const struct session_fields *fields, int64_t now_ms, db_done_fn done,
                    void *userdata);
/* Results: 0 the session, or no row. */
void session_find(struct db *db, const struct who *who, const char *id, db_done_fn done,
                  void *userdata);
/* The statement of session_find, for transactions that end with it. */
void session_add_find(struct db_tx *tx, const char *id);
/* Results: 0 the sessions, last updated first; `limit` + 1 of them at most. `before_ms` and
 * `before_id` are those of the last one of the page before (0, NULL: the first page). */
void session_list(struct db *db, const struct who *who, int64_t before_ms, const char *before_id,
                  int64_t limit, db_done_fn done, void *userdata);
/* Results: 0 nothing, 1 the session, or no row. */
void session_update(struct db *db, const struct who *who, const char *id,
                    const struct session_fields *fields, int64_t now_ms, db_done_fn done,
                    void *userdata);
/* Results: 0 its sandbox's id (a row if there was one). Its messages go with it. */
void session_delete(struct db *db, const struct who *who, const char *id, db_done_fn done,
                    void *userdata);
/* Deletes those of the caller that have no messages and are older than another with the same title
 * and sandbox. Results: 0 their ids. */
void session_deduplicate(struct db *db, const struct who *who, db_done_fn done, void *userdata);

json_t *session_from_row(const struct db_result *result, size_t row);

struct message_fields {
    const char *id, *session, *type, *content, *sender;
    int64_t timestamp_ms;
    const char *data; /* JSON text of an object */
};

/* Results: 0, 1 nothing, 2 the message. "duplicate": its id is known; "forbidden" or "reference":
 * the session is not there, or not the caller's. */
void message_insert(struct db *db, const struct who *who, const struct message_fields *fields,
                    int64_t now_ms, db_done_fn done, void *userdata);
/* Results: 0 the message, or no row. */
void message_find(struct db *db, const struct who *who, const char *session, const char *id,
                  db_done_fn done, void *userdata);
/* Results: 0 a row if the session is there; 1 its messages with seq > `after`, or, with before > 0,
 * those with seq < before, the last first; `limit` + 1 at most. */
void message_list(struct db *db, const struct who *who, const char *session, int64_t after,
                  int64_t before, int64_t limit, db_done_fn done, void *userdata);

json_t *message_from_row(const struct db_result *result, size_t row);
