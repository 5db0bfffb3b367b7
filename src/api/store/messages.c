/* Theory of operation: see sessions.h. A message is appended after its session's row has been
 * touched, whose lock puts the appends to one session in line: their seq then grows in the order in
 * which they become visible, and whoever has read up to one misses none below it. */
#include "api/store/sessions.h"

#define COLUMNS                                                                                    \
    "seq, id, session_id, type, content, sender, ms(timestamp), message_data, ms(created_at)"
#define FIND "SELECT " COLUMNS " FROM chat_messages WHERE id = $1 AND session_id = $2"

void message_insert(struct db *db, const struct who *who, const struct message_fields *fields,
                    int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, "UPDATE sessions SET updated_at = from_ms($2) WHERE id = $1", "ti", fields->session,
           now_ms);
    db_add(tx,
           "INSERT INTO chat_messages (id, session_id, type, content, sender, timestamp, "
           "message_data, created_at) VALUES ($1, $2, $3, $4, $5, from_ms($6), $7, from_ms($8))",
           "tttttiti", fields->id, fields->session, fields->type, fields->content, fields->sender,
           fields->timestamp_ms, fields->data, now_ms);
    db_add(tx, FIND, "tt", fields->id, fields->session);
    /* done twice it is a duplicate, which callers answer with the message that is there */
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void message_find(struct db *db, const struct who *who, const char *session, const char *id,
                  db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, FIND, "tt", id, session);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void message_list(struct db *db, const struct who *who, const char *session, int64_t after,
                  int64_t before, int64_t limit, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, "SELECT id FROM sessions WHERE id = $1", "t", session);
    if (before > 0)
        db_add(tx,
               "SELECT " COLUMNS " FROM chat_messages WHERE session_id = $1 AND seq < $2 "
               "ORDER BY seq DESC LIMIT $3",
               "tii", session, before, limit + 1);
    else
        db_add(tx,
               "SELECT " COLUMNS " FROM chat_messages WHERE session_id = $1 AND seq > $2 "
               "ORDER BY seq LIMIT $3",
               "tii", session, after, limit + 1);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

json_t *message_from_row(const struct db_result *result, size_t row)
{
    const char *data = db_text(result, row, 7);
    json_t *object = json_loads(data ? data : "{}", JSON_DECODE_ANY, NULL);

    return json_pack(
        "{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:I}", "seq", (json_int_t)db_int(result, row, 0),
        "id", db_text(result, row, 1), "session_id", db_text(result, row, 2), "type",
        db_text(result, row, 3), "content", db_text(result, row, 4), "sender",
        db_text(result, row, 5), "timestamp", (json_int_t)db_int(result, row, 6), "message_data",
        object ? object : json_object(), "created_at", (json_int_t)db_int(result, row, 8));
}
