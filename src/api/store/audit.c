/* Theory of operation: see audit.h. Many records go into one statement, as a JSON array that the
 * database takes apart: its number of arguments is fixed, theirs is not. */
#include "api/store/audit.h"

#include "base/cleanup.h"

void audit_find_end(struct db *db, int64_t seq, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", "");
    db_add(tx, "SELECT hash FROM audit WHERE seq = $1", "i", seq);
    db_add(tx, "SELECT seq, hash FROM audit_anchor", "");
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void audit_append(struct db *db, const char *rows, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "INSERT INTO audit (seq, time, subject, target, record, hash) "
           "SELECT CAST(value ->> 0 AS bigint), CAST(value ->> 1 AS bigint), value ->> 2, "
           "value ->> 3, value ->> 4, value ->> 5 FROM json_each(CAST($1 AS text))",
           "t", rows);
    db_run(db, tx, done, userdata);
}

/* [the last first][how it is searched]: statements that an index answers. */
#define COLUMNS  "SELECT seq, time, subject, target, record, hash FROM audit WHERE "
#define FORWARD  "seq > $1 ORDER BY seq LIMIT $2"
#define BACKWARD "seq < $1 ORDER BY seq DESC LIMIT $2"
enum { BY_NOTHING, BY_SUBJECT, BY_TARGET, BY_BOTH };
static const char *const searches[2][4] = {
    {COLUMNS FORWARD, COLUMNS "subject = $3 AND " FORWARD, COLUMNS "target = $3 AND " FORWARD,
     COLUMNS "subject = $3 AND target = $4 AND " FORWARD},
    {COLUMNS BACKWARD, COLUMNS "subject = $3 AND " BACKWARD, COLUMNS "target = $3 AND " BACKWARD,
     COLUMNS "subject = $3 AND target = $4 AND " BACKWARD},
};
static const char *const search_arguments[] = {"ii", "iit", "iit", "iitt"};

void audit_list(struct db *db, const struct audit_search *search, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);
    unsigned int by =
        (search->subject ? BY_SUBJECT : BY_NOTHING) | (search->target ? BY_TARGET : BY_NOTHING);
    bool backward = search->before > 0;

    db_add(tx, searches[backward][by], search_arguments[by],
           backward ? search->before : search->since, search->limit + 1,
           search->subject ? search->subject : search->target, search->target);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void audit_row_read(const struct db_result *result, size_t row, struct audit_row *ret_row)
{
    *ret_row = (struct audit_row){
        .seq = db_int(result, row, 0),
        .time_ms = db_int(result, row, 1),
        .subject = db_text(result, row, 2),
        .target = db_text(result, row, 3),
        .record = db_text(result, row, 4),
        .hash = db_text(result, row, 5),
    };
}

void audit_find_old(struct db *db, int64_t time_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "SELECT max(seq) FROM audit WHERE seq < coalesce("
           "(SELECT seq FROM audit WHERE time >= $1 ORDER BY seq LIMIT 1), "
           "(SELECT max(seq) FROM audit))",
           "i", time_ms);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void audit_prune_step(struct db *db, int64_t seq, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(tx,
           "UPDATE audit_anchor SET seq = (SELECT max(seq) FROM (SELECT seq FROM audit "
           "WHERE seq <= $1 ORDER BY seq LIMIT " AUDIT_PRUNE_STEP ") AS step) "
           "WHERE EXISTS (SELECT 1 FROM audit WHERE seq <= $1)",
           "i", seq);
    db_add(tx,
           "UPDATE audit_anchor SET hash = (SELECT hash FROM audit WHERE seq = audit_anchor.seq) "
           "WHERE EXISTS (SELECT 1 FROM audit WHERE seq = audit_anchor.seq)",
           "");
    db_add(tx, "DELETE FROM audit WHERE seq <= (SELECT seq FROM audit_anchor)", "");
    db_add(tx, "SELECT seq FROM audit WHERE seq <= $1 LIMIT 1", "i", seq);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}
