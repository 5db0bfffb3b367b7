/* Theory of operation: see sessions.h. Pages are cut by (updated_at in ms, id), which is what a
 * client was shown, so that rows with microseconds in PostgreSQL are neither skipped nor repeated.
 */
#include "api/store/sessions.h"

#include "base/cleanup.h"

#define COLUMNS                                                                                    \
    "id, user_id, title, description, sandbox_id, thumbnail, iframe_url, "                         \
    "CAST(is_active AS integer), ms(created_at), ms(updated_at)"
#define SELECT_ONE "SELECT " COLUMNS " FROM sessions WHERE id = $1"
#define ORDER      " ORDER BY ms(updated_at) DESC, id DESC LIMIT "

static const char *or_null(const char *text)
{
    return text && *text ? text : NULL;
}

void session_insert(struct db *db, const struct who *who, const char *id, const char *user,
                    const struct session_fields *fields, int64_t now_ms, db_done_fn done,
                    void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx,
           "INSERT INTO sessions (id, user_id, title, description, sandbox_id, thumbnail, "
           "iframe_url, is_active, created_at, updated_at) "
           "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, from_ms($9), from_ms($9))",
           "tttttttbi", id, user, fields->title, or_null(fields->description),
           or_null(fields->sandbox_id), or_null(fields->thumbnail), or_null(fields->iframe_url),
           fields->is_active != 0, now_ms);
    db_add(tx, SELECT_ONE, "t", id);
    db_run(db, tx, done, userdata);
}

void session_find(struct db *db, const struct who *who, const char *id, db_done_fn done,
                  void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, SELECT_ONE, "t", id);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void session_add_find(struct db_tx *tx, const char *id)
{
    db_add(tx, SELECT_ONE, "t", id);
}

void session_list(struct db *db, const struct who *who, int64_t before_ms, const char *before_id,
                  int64_t limit, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    if (before_id)
        db_add(tx,
               "SELECT " COLUMNS " FROM sessions WHERE ms(updated_at) < CAST($1 AS bigint) OR "
               "(ms(updated_at) = CAST($1 AS bigint) AND id < $2)" ORDER "$3",
               "iti", before_ms, before_id, limit + 1);
    else
        db_add(tx, "SELECT " COLUMNS " FROM sessions" ORDER "$1", "i", limit + 1);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

#define CHANGED(flag, value, column)                                                               \
    column " = CASE WHEN CAST(" flag " AS integer) = 1 THEN " value " ELSE " column " END"

void session_update(struct db *db, const struct who *who, const char *id,
                    const struct session_fields *fields, int64_t now_ms, db_done_fn done,
                    void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(
        tx,
        "UPDATE sessions SET updated_at = from_ms($2), " CHANGED("$3", "$4", "title") ", " CHANGED("$5", "$6", "description") ", " CHANGED(
            "$7", "$8",
            "sandbox_id") ", " CHANGED("$9", "$10",
                                       "thumbnail") ", " CHANGED("$11", "$12",
                                                                 "iframe_url") ", " CHANGED("$13",
                                                                                            "$14",
                                                                                            "is_"
                                                                                            "activ"
                                                                                            "e") " "
                                                                                                 "W"
                                                                                                 "H"
                                                                                                 "E"
                                                                                                 "R"
                                                                                                 "E"
                                                                                                 " "
                                                                                                 "i"
                                                                                                 "d"
                                                                                                 " "
                                                                                                 "="
                                                                                                 " "
                                                                                                 "$"
                                                                                                 "1",
        "tibtbtbtbtbtbb", id, now_ms, fields->title != NULL, fields->title,
        fields->description != NULL, or_null(fields->description), fields->sandbox_id != NULL,
        or_null(fields->sandbox_id), fields->thumbnail != NULL, or_null(fields->thumbnail),
        fields->iframe_url != NULL, or_null(fields->iframe_url), fields->is_active >= 0,
        fields->is_active > 0);
    db_add(tx, SELECT_ONE, "t", id);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

void session_delete(struct db *db, const struct who *who, const char *id, db_done_fn done,
                    void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx, "DELETE FROM sessions WHERE id = $1 RETURNING sandbox_id", "t", id);
    db_run(db, tx, done, userdata);
}

void session_deduplicate(struct db *db, const struct who *who, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(who->actor, who->user);

    db_add(tx,
           "DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s WHERE EXISTS ("
           " SELECT 1 FROM sessions o WHERE o.user_id = s.user_id AND o.title = s.title AND"
           " coalesce(o.sandbox_id, '') = coalesce(s.sandbox_id, '') AND"
           " (ms(o.updated_at) > ms(s.updated_at) OR"
           "  (ms(o.updated_at) = ms(s.updated_at) AND o.id > s.id))) AND NOT EXISTS ("
           " SELECT 1 FROM chat_messages m WHERE m.session_id = s.id)) RETURNING id",
           "");
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}

json_t *session_from_row(const struct db_result *result, size_t row)
{
    const char *text[7];

    for (size_t i = 0; i < ELEMENTS(text); i++)
        text[i] = db_text(result, row, i);
    return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:b, s:I, s:I}", "id", text[0],
                     "user_id", text[1], "title", text[2], "description", text[3], "sandbox_id",
                     text[4], "thumbnail", text[5], "iframe_url", text[6], "is_active",
                     (int)db_int(result, row, 7), "created_at", (json_int_t)db_int(result, row, 8),
                     "updated_at", (json_int_t)db_int(result, row, 9));
}
