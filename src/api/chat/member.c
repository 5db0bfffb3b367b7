/* One WebSocket of a session: WS /v1/sessions/{id}/ws, and WS / where the session is named by
 * `init`.
 *
 * Theory of operation. Whoever may not see the session gets 404 before the upgrade. What a member
 * sends is checked against the table of types; a bad message is answered with an `error` and the
 * connection lives. With `since` it first gets what was kept after that number; live messages wait
 * meanwhile. A member that does not read is told so, once, and closed when its queue is full: it
 * can come back with `since`. */
#include "api/chat/room.h"

#include "api/handlers.h"
#include "api/session-schema.h"
#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <wslay/wslay.h>

#define REPLAY_PAGE      40
#define REPLAY_HIGH      (1u << 20) /* bytes that may wait before replay does */
#define HELD_MAX         1024u
#define CODE_SLOW_READER 1013 /* "try again later" */
#define TITLE_OF_NEW     "New session"

struct who member_who(const struct member *member)
{
    return (struct who){member->who.admin ? DB_SERVICE : DB_USER, member->who.user};
}

void member_hold(struct member *member)
{
    member->references++;
}

void member_release(struct member *member)
{
    if (--member->references > 0)
        return;
    json_decref(member->held);
    free(member);
}

/* ---- out
 * ------------------------------------------------------------------------------------------ */

static void send_now(struct member *member, struct ws_text *text)
{
    if (ws_queued(member->ws) + text->length > MEMBER_QUEUE_MAX) {
        struct error err = ERROR_NONE;
        if (member->told_slow)
            return;
        member->told_slow = true;
        error_set_code(&err, ENOBUFS, "slow_reader",
                       "more than %zu MiB wait for you: come back with `since`",
                       MEMBER_QUEUE_MAX >> 20);
        member_fail(member, NULL, &err);
        ws_close(member->ws, CODE_SLOW_READER);
        return;
    }
    ws_send_text(member->ws, text);
}

/* While older ones are replayed. */
static void hold(struct member *member, json_t *envelope)
{
    if (!member->held)
        member->held = json_array();
    if (json_array_size(member->held) < HELD_MAX)
        json_array_append(member->held, envelope);
    else
        ws_close(member->ws, CODE_SLOW_READER);
}

void member_send_text(struct member *member, struct ws_text *text, json_t *envelope)
{
    if (member->gone || member->joining)
        return;
    if (member->replaying)
        hold(member, envelope);
    else
        send_now(member, text);
}

static void send_envelope(struct member *member, json_t *envelope)
{
    cleanup_free char *text = json_dumps(envelope, JSON_COMPACT);
    struct ws_text message = {.text = text, .length = text ? strlen(text) : 0};

    if (text && !member->gone)
        send_now(member, &message);
    ws_text_clear(&message);
}

void member_send(struct member *member, json_t *envelope)
{
    cleanup_json json_t *owned = envelope;

    if (owned)
        send_envelope(member, owned);
}

void member_fail(struct member *member, const char *id, const struct error *err)
{
    const char *session = member->room ? member->room->session : NULL;
    json_t *data = json_pack("{s:s, s:s}", "error", err->message, "code", err->code);

    if (data && err->field[0])
        json_object_set_new(data, "field", json_string(err->field));
    if (data && id)
        json_object_set_new(data, "message_id", json_string(id));
    json_t *envelope = chat_envelope("error", NULL, session, now_realtime_ms(), data);
    cleanup_free char *text = envelope ? json_dumps(envelope, JSON_COMPACT) : NULL;
    struct ws_text message = {.text = text, .length = text ? strlen(text) : 0};

    json_decref(envelope);
    if (text && !member->gone)
        ws_send_text(member->ws, &message);
    ws_text_clear(&message);
}

/* ---- replay
 * ----------------------------------------------------------------------------------------- */

static void replay(struct member *member);

static int64_t seq_of(const json_t *envelope)
{
    return json_integer_value(json_object_get(json_object_get(envelope, "data"), "seq"));
}

/* What came meanwhile, without what the pages have brought already. */
static void end_replay(struct member *member)
{
    size_t i;
    json_t *envelope;

    member->replaying = false;
    json_array_foreach(member->held, i, envelope)
    {
        int64_t seq = seq_of(envelope);
        if (seq == 0 || seq > member->since)
            send_envelope(member, envelope);
    }
    json_decref(member->held);
    member->held = NULL;
    json_array_foreach(member->room->partials, i, envelope)
    {
        send_envelope(member, envelope);
    }
}

/* A reader that is behind gets the rest when it has read this. */
static void take_page(struct member *member, const struct db_result *rows)
{
    size_t i = 0;

    while (i < rows->rows && i < REPLAY_PAGE && ws_queued(member->ws) < REPLAY_HIGH) {
        cleanup_json json_t *row = message_from_row(rows, i);
        cleanup_json json_t *envelope = row ? keep_to_envelope(row) : NULL;
        if (envelope)
            send_envelope(member, envelope);
        member->since = db_int(rows, i++, 0);
    }
    if (i == rows->rows)
        end_replay(member);
    else if (i == REPLAY_PAGE)
        replay(member);
    else
        member->replay_waits = true;
}

static void on_page(void *userdata, const struct db_result *results, const struct error *err)
{
    struct member *member = userdata;

    if (!member->gone && member->room && results)
        take_page(member, &results[1]);
    else if (!member->gone && member->room) {
        member_fail(member, NULL, err);
        ws_close(member->ws, WSLAY_CODE_INTERNAL_SERVER_ERROR);
    }
    member_release(member);
}

static void replay(struct member *member)
{
    struct who who = member_who(member);

    member_hold(member);
    message_list(member->api->db, &who, member->room->session, member->since, 0, REPLAY_PAGE,
                 on_page, member);
}

/* Now of the room: with `since` the past first. */
static void joined(struct member *member)
{
    member->joining = false;
    member->replaying = true;
    if (member->since >= 0)
        replay(member);
    else
        end_replay(member);
}

/* ---- in
 * --------------------------------------------------------------------------------------------- */

static void echo(struct member *member, const json_t *envelope)
{
    member_send(member, json_deep_copy(envelope));
}

/* As it goes to the others: with an id, our time where it had none, and its session. */
static json_t *complete(const struct member *member, const struct chat_message *message)
{
    json_t *data = message->data ? json_copy(message->data) : json_object();

    return chat_envelope(message->type->name, message->id, member->room->session,
                         message->timestamp_ms, data);
}

static void start_init(struct member *member, const struct chat_message *message);

static void act(struct member *member, const struct chat_message *message, const json_t *original)
{
    struct room *room = member->room;
    struct error err = ERROR_NONE;

    if (message->type->action == CHAT_PING) {
        echo(member, original);
        return;
    }
    if (message->type->action == CHAT_INIT) {
        start_init(member, message);
        return;
    }
    if (!room || member->joining) {
        error_set_code(&err, EBUSY, "no_session", "send `init` with a session_id first");
        member_fail(member, message->id, &err);
        return;
    }
    bool asks_for_files =
        message->type->action == CHAT_FILES && !json_object_get(message->data, "files");
    cleanup_json json_t *envelope = asks_for_files ? NULL : complete(member, message);
    if (asks_for_files)
        files_send(member, message->id);
    else if (!envelope)
        ws_close(member->ws, WSLAY_CODE_INTERNAL_SERVER_ERROR);
    else if (message->type->action == CHAT_KEEP)
        keep_message(member, message, envelope);
    else if (message->type->action == CHAT_PARTIAL)
        room_partial(room, member, json_incref(envelope));
    else if (message->type->action == CHAT_COMPLETED)
        sandbox_completed(room, json_incref(envelope));
    else
        room_send(room, CHAT_USER | CHAT_AGENT, member, json_incref(envelope));
}

static void on_message(void *userdata, bool binary, const char *data, size_t length)
{
    struct member *member = userdata;
    struct chat_message message;
    struct error err = ERROR_NONE;
    json_error_t where;
    cleanup_json json_t *envelope =
        binary ? NULL : json_loadb(data, length, JSON_REJECT_DUPLICATES, &where);

    if (binary)
        error_set_code(&err, EINVAL, "malformed_json", "messages are text, not binary");
    else if (!envelope)
        error_set_code(&err, EINVAL, "malformed_json", "line %d, column %d: no JSON", where.line,
                       where.column);
    else if (chat_decode(envelope, member->role, now_realtime_ms(), &message, &err) == 0) {
        act(member, &message, envelope);
        return;
    }
    member_fail(member, json_string_value(json_object_get(envelope, "id")), &err);
}

/* ---- choosing a session by `init`
 * ------------------------------------------------------------------- */

struct choosing {
    struct member *member;
    char session[DB_USER_SIZE];
    char *template;
    bool ensured;
};

static void choosing_free(struct choosing *choosing)
{
    member_release(choosing->member);
    free(choosing->template);
    free(choosing);
}

static void enter_chosen(struct choosing *choosing, const struct db_result *row,
                         const struct error *failure)
{
    struct member *member = choosing->member;
    struct error err = failure ? *failure : ERROR_NONE;
    cleanup_json json_t *session = row && row->rows ? session_from_row(row, 0) : NULL;

    member->joining = false;
    if (!failure && !session)
        error_set_code(&err, ENOENT, "session_not_found", "there is no session `%s`",
                       choosing->session);
    if (!member->gone && err.err)
        member_fail(member, NULL, &err);
    else if (!member->gone && room_enter(member->api, session, member)) {
        joined(member);
        sandbox_prepare(member, choosing->template);
    }
    choosing_free(choosing);
}

static void on_chosen(void *userdata, const struct db_result *results, const struct error *err)
{
    enter_chosen(userdata, results ? &results[0] : NULL, err);
}

static void insert_session(struct choosing *choosing);

static void on_user(void *userdata, const struct db_result *results, const struct error *err)
{
    if (results)
        insert_session(userdata);
    else
        enter_chosen(userdata, NULL, err);
}

static void on_made(void *userdata, const struct db_result *results, const struct error *err)
{
    struct choosing *choosing = userdata;

    if (err && str_equal(err->code, "reference") && !choosing->ensured) {
        choosing->ensured = true;
        users_ensure(choosing->member->api->db, choosing->member->who.user, now_realtime_ms(),
                     on_user, choosing);
        return;
    }
    enter_chosen(choosing, results ? &results[1] : NULL, err);
}

static void insert_session(struct choosing *choosing)
{
    struct who who = member_who(choosing->member);
    static const struct session_fields fields = {.title = TITLE_OF_NEW, .is_active = -1};

    session_insert(choosing->member->api->db, &who, choosing->session, choosing->member->who.user,
                   &fields, now_realtime_ms(), on_made, choosing);
}

static int choose(struct member *member, const char *session, const char *template,
                  struct error *err)
{
    struct who who = member_who(member);
    char id[DB_USER_SIZE];

    if (session && uuid_parse(session, id) < 0)
        return error_set_field(err, "session_id", "expected a UUID");
    if (!session && uuid_new(id) < 0)
        return error_set(err, EIO, "no randomness for a session id");
    struct choosing *choosing = calloc(1, sizeof(*choosing));
    if (!choosing || (template && !(choosing->template = strdup(template)))) {
        free(choosing);
        return error_oom(err);
    }
    choosing->member = member;
    memcpy(choosing->session, id, sizeof(id));
    member_hold(member);
    member->joining = true;
    if (session)
        session_find(member->api->db, &who, id, on_chosen, choosing);
    else
        insert_session(choosing);
    return 0;
}

static const char *data_string(const struct chat_message *message, const char *name)
{
    return json_string_value(json_object_get(message->data, name));
}

/* `init` names the session in the envelope or in its data, once. */
static void start_init(struct member *member, const struct chat_message *message)
{
    const char *session = message->session ? message->session : data_string(message, "session_id");
    const char *template = data_string(message, "template");
    struct error err = ERROR_NONE;
    int r = 0;

    if (template && !resource_name_valid(template))
        r = error_set_field(&err, "data.template", "expected 1 to 64 of a-z 0-9 . _ -");
    else if (member->joining)
        r = error_set_code(&err, EBUSY, "init_in_progress", "an `init` is under way already");
    else if (member->room && session && !str_equal(session, member->room->session))
        r = error_set_field(&err, "session_id", "this connection is of session %s",
                            member->room->session);
    else if (member->room)
        sandbox_prepare(member, template);
    else
        r = choose(member, session && *session ? session : NULL, template, &err);
    if (r < 0)
        member_fail(member, message->id, &err);
}

/* ---- the connection
 * --------------------------------------------------------------------------------- */

static void on_opened(void *userdata)
{
    struct member *member = userdata;

    if (member->room)
        joined(member);
}

static void on_writable(void *userdata)
{
    struct member *member = userdata;

    if (!member->replay_waits || !member->room)
        return;
    member->replay_waits = false;
    replay(member);
}

static void on_closed(void *userdata)
{
    struct member *member = userdata;

    member->gone = true;
    room_leave(member);
}

static const struct ws_handler handler = {.message_max = CHAT_MESSAGE_MAX,
                                          .deflate = true,
                                          .opened = on_opened,
                                          .message = on_message,
                                          .writable = on_writable,
                                          .closed = on_closed};

static void on_abort(struct http_request *request)
{
    struct member *member = request->state;

    ws_abort(member->ws, WSLAY_CODE_GOING_AWAY);
}

static void free_request_state(void *state)
{
    struct member *member = state;

    ws_free(TAKE_PTR(member->ws));
    room_leave(member);
    member_release(member);
}

static int accept_member(struct http_request *request, const json_t *session, struct error *err)
{
    const struct chat_query *query = (const void *)request->query_data.bytes;
    struct member *member = calloc(1, sizeof(*member));

    if (!member)
        return error_oom(err);
    member->api = request->api;
    member->request = request;
    member->references = 1;
    member->who = request->who;
    member->role = str_equal(query->role, "agent") ? CHAT_AGENT : CHAT_USER;
    member->since = json_object_get(request->query_json, "since") ? query->since : -1;
    member->wants_acks = query->acks;
    member->joining = session != NULL; /* until it is open */
    int r = ws_accept(request, &handler, member, &member->ws, err);
    if (r < 0) {
        free(member);
        return r;
    }
    request->state = member;
    request->state_free = free_request_state;
    http_on_abort(request, on_abort);
    if (session && !room_enter(request->api, session, member))
        ws_abort(member->ws, WSLAY_CODE_INTERNAL_SERVER_ERROR);
    return 0;
}

static void on_session(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct http_request *request = userdata;
    struct error err = failure ? *failure : ERROR_NONE;

    if (results && results[0].rows == 0) {
        session_not_found(request);
        return;
    }
    cleanup_json json_t *session = results ? session_from_row(&results[0], 0) : NULL;
    if (results && !session)
        error_oom(&err);
    if (err.err || accept_member(request, session, &err) < 0)
        http_fail(request, &err);
}

HANDLER(chat_session_socket)
{
    (void)query;
    (void)body;
    return session_ask(request, session_find, on_session, err);
}

HANDLER(chat_socket)
{
    (void)query;
    (void)body;
    return accept_member(request, NULL, err);
}
