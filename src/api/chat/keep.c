/* Theory of operation: user and assistant messages go into the database before anybody is told of
 * them, one after the other a room, so that they are passed on in the order in which they were
 * kept. A message whose id is known was kept before: its sender is acknowledged again, and nobody
 * told. */
#include "api/chat/room.h"

#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

struct keeping {
    struct keeping *next;
    struct room *room;
    struct member *from;
    json_t *envelope;
    char id[DB_USER_SIZE]; /* of the row */
    const struct chat_type *type;
    int64_t timestamp_ms;
};

static const char *id_of(const struct keeping *keeping)
{
    return json_string_value(json_object_get(keeping->envelope, "id"));
}

static void free_keeping(struct keeping *keeping)
{
    member_release(keeping->from);
    json_decref(keeping->envelope);
    free(keeping);
}

static void start(struct room *room);

static void next(struct room *room)
{
    struct keeping *done = room->first;

    room->first = done->next;
    if (!room->first)
        room->last = &room->first;
    room->n_keeping--;
    free_keeping(done);
    if (room->first)
        start(room);
    room_release(room);
}

static void acknowledge(const struct keeping *keeping, int64_t seq)
{
    struct member *from = keeping->from;

    if (from->wants_acks && !from->gone)
        member_send(from,
                    chat_envelope("ack", id_of(keeping), keeping->room->session, now_realtime_ms(),
                                  json_pack("{s:I}", "seq", (json_int_t)seq)));
}

/* Acknowledged before it is passed on: whoever has it knows that it is kept. */
static void pass_on(struct keeping *keeping, int64_t seq)
{
    json_t *data = json_object_get(keeping->envelope, "data");

    json_object_set_new(data, "seq", json_integer((json_int_t)seq));
    json_object_set_new(data, "sender",
                        json_string(keeping->type->from & CHAT_AGENT ? "ASSISTANT" : "USER"));
    acknowledge(keeping, seq);
    room_partial_done(keeping->room, id_of(keeping));
    room_send(keeping->room, CHAT_USER | CHAT_AGENT, keeping->from, json_incref(keeping->envelope));
}

static void on_known(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct keeping *keeping = userdata;
    struct error err = failure ? *failure : ERROR_NONE;

    if (results && results[0].rows == 0)
        error_set_code(&err, EEXIST, "message_id_taken", "another session has a message `%s`",
                       keeping->id);
    if (err.err)
        member_fail(keeping->from, id_of(keeping), &err);
    else
        acknowledge(keeping, db_int(&results[0], 0, 0));
    next(keeping->room);
}

static void on_kept(void *userdata, const struct db_result *results, const struct error *err)
{
    struct keeping *keeping = userdata;
    struct who who = member_who(keeping->from);

    if (err && str_equal(err->code, "duplicate")) {
        message_find(keeping->room->api->db, &who, keeping->room->session, keeping->id, on_known,
                     keeping);
        return;
    }
    if (err)
        member_fail(keeping->from, id_of(keeping), err);
    else
        pass_on(keeping, db_int(&results[2], 0, 0));
    next(keeping->room);
}

/* Everything of it but what has a column. */
static char *rest_of(const struct keeping *keeping)
{
    cleanup_json json_t *data = json_copy(json_object_get(keeping->envelope, "data"));
    const char *id = id_of(keeping);

    json_object_del(data, "text");
    json_object_del(data, "client_id");
    json_object_del(data, "client_type");
    if (!str_equal(id, keeping->id))
        json_object_set_new(data, "client_id", json_string(id));
    if (!str_equal(keeping->type->name, keeping->type->canonical))
        json_object_set_new(data, "client_type", json_string(keeping->type->name));
    return data ? json_dumps(data, JSON_COMPACT) : NULL;
}

static void start(struct room *room)
{
    struct keeping *keeping = room->first;
    json_t *data = json_object_get(keeping->envelope, "data");
    struct who who = member_who(keeping->from);
    cleanup_free char *rest = rest_of(keeping);
    struct message_fields fields = {
        .id = keeping->id,
        .session = room->session,
        .type = keeping->type->canonical,
        .content = json_string_value(json_object_get(data, "text")),
        .sender = keeping->type->from & CHAT_AGENT ? "ASSISTANT" : "USER",
        .timestamp_ms = keeping->timestamp_ms,
        .data = rest ? rest : "{}",
    };

    message_insert(room->api->db, &who, &fields, now_realtime_ms(), on_kept, keeping);
}

void keep_message(struct member *from, const struct chat_message *message, json_t *envelope)
{
    struct room *room = from->room;
    struct error err = ERROR_NONE;
    const char *id = json_string_value(json_object_get(envelope, "id"));
    struct keeping *keeping =
        room->n_keeping < ROOM_KEEPING_MAX ? calloc(1, sizeof(*keeping)) : NULL;

    if (!keeping || chat_row_id(room->session, id, keeping->id) < 0) {
        free(keeping);
        error_set_code(&err, EAGAIN, "busy", "too many messages wait to be kept: send it again");
        member_fail(from, id, &err);
        return;
    }
    keeping->room = room;
    keeping->from = from;
    keeping->envelope = json_incref(envelope);
    keeping->type = message->type;
    keeping->timestamp_ms = message->timestamp_ms;
    member_hold(from);
    room_hold(room);
    bool idle = !room->first;
    *room->last = keeping;
    room->last = &keeping->next;
    room->n_keeping++;
    if (idle)
        start(room);
}

json_t *keep_to_envelope(const json_t *row)
{
    json_t *rest = json_object_get(row, "message_data");
    json_t *data = json_copy(rest);
    const char *id = json_string_value(json_object_get(rest, "client_id"));
    const char *type = json_string_value(json_object_get(rest, "client_type"));

    if (!data)
        return NULL;
    json_object_del(data, "client_id");
    json_object_del(data, "client_type");
    json_object_set(data, "text", json_object_get(row, "content"));
    json_object_set(data, "seq", json_object_get(row, "seq"));
    json_object_set(data, "sender", json_object_get(row, "sender"));
    return chat_envelope(type ? type : json_string_value(json_object_get(row, "type")),
                         id ? id : json_string_value(json_object_get(row, "id")),
                         json_string_value(json_object_get(row, "session_id")),
                         json_integer_value(json_object_get(row, "timestamp")), data);
}
