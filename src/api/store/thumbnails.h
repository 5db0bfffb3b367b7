/* Pictures of sessions. For DB_USER the database itself keeps others' away. */
#pragma once

#include "api/store/sessions.h"

/* In place of the one before. `png` is base64; `url` becomes the session's `thumbnail`. Results: 3
 * the session, or no row. */
void thumbnail_put(struct db *db, const struct who *who, const char *session, const char *etag,
                   const char *png, const char *url, int64_t now_ms, db_done_fn done,
                   void *userdata);
/* Results: 0 a row if the session is there; 1 etag and base64, or no row. */
void thumbnail_find(struct db *db, const struct who *who, const char *session, db_done_fn done,
                    void *userdata);
/* The session's `thumbnail` becomes none if it is `url`. Results: 0 a row if the session is there;
 * 1 a row if it had a picture. */
void thumbnail_delete(struct db *db, const struct who *who, const char *session, const char *url,
                      int64_t now_ms, db_done_fn done, void *userdata);
