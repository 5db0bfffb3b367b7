/* The answers to idempotent requests, kept for a day. */
#pragma once

#include "api/db/db.h"

struct store_answer {
    const char *request_hash;
    unsigned int status; /* 0: that request is still being worked on */
    const char *body;
};

/* Whoever worked on unfinished ones is gone, and so is the only one who could have finished them:
 * to be called at start. */
void answers_reset(struct db *db);

/* Claims an idempotency key; read the results with answers_read. */
void answers_begin(struct db *db, const char *owner, const char *key, const char *request_hash,
                   int64_t now_ms, db_done_fn done, void *userdata);

/* true: the key was free and is claimed, answers_finish must follow. false: it is known, see
 * *ret_answer, which lives as long as the results. */
bool answers_read(const struct db_result *results, struct store_answer *ret_answer);

/* Keeps the answer, or, with status 0, gives the key free again. */
void answers_finish(struct db *db, const char *owner, const char *key, unsigned int status,
                    const char *body, db_done_fn done, void *userdata);
