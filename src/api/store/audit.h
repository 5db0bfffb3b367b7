/* The rows of the audit trail (api/audit/audit.h). All of it is DB_SERVICE's: users see none. */
#pragma once

#include "api/db/db.h"
#include "api/key.h"

/* A place in the chain: a record's number and hash. */
struct audit_place {
    int64_t seq;
    char hash[KEY_HASH_SIZE];
};

/* Results: 0 the last record (seq, hash), or no row; 1 the hash of record `seq`, or no row; 2 the
 * anchor (seq, hash). */
void audit_find_end(struct db *db, int64_t seq, db_done_fn done, void *userdata);

/* `rows`: JSON text of an array of [seq, time, subject, target, record, hash]. "duplicate": one of
 * the numbers is taken; then none of them is added. */
void audit_append(struct db *db, const char *rows, db_done_fn done, void *userdata);

/* `target` and `subject`: NULL for any. The columns are those of audit_row. */
struct audit_search {
    const char *subject, *target;
    int64_t since, before; /* seq > since; or with before > 0: seq < before, the last first */
    int64_t limit;
};
/* Results: 0 the records, `limit` + 1 at most. */
void audit_list(struct db *db, const struct audit_search *search, db_done_fn done, void *userdata);

/* Of a row of audit_list; borrowed from the result. */
struct audit_row {
    int64_t seq, time_ms;
    const char *subject, *target, *record, *hash;
};
void audit_row_read(const struct db_result *result, size_t row, struct audit_row *ret_row);

/* Results: 0 the number of the last record of those at the start of the chain that are older than
 * `time_ms`, or SQL's NULL; the last record of all is never among them. */
void audit_find_old(struct db *db, int64_t time_ms, db_done_fn done, void *userdata);

/* Removes the first AUDIT_PRUNE_STEP records of those up to `seq`, and moves the anchor. Results: 3
 * a row if there are more of them. */
#define AUDIT_PRUNE_STEP "2000"
void audit_prune_step(struct db *db, int64_t seq, db_done_fn done, void *userdata);
