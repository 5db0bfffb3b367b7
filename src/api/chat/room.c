/* Theory of operation: see room.h. Rooms are a list in the API, looked up when somebody enters. One
 * that is empty and has nothing under way ends; all that it holds is in the database or can be
 * asked for again, so a killed program loses nothing but partial texts. */
#include "api/chat/room.h"

#include "api/status.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <string.h>

static struct room *find(struct api *api, const char *session)
{
    struct room *room = api->rooms;

    while (room && !str_equal(room->session, session))
        room = room->next;
    return room;
}

static struct room *make(struct api *api, const json_t *session)
{
    const char *id = json_string_value(json_object_get(session, "id"));
    const char *user = json_string_value(json_object_get(session, "user_id"));
    const char *sandbox = json_string_value(json_object_get(session, "sandbox_id"));
    struct room *room = calloc(1, sizeof(*room));

    if (!room || !(room->partials = json_array()) || !(room->completed = json_array())) {
        if (room)
            json_decref(room->partials);
        free(room);
        return NULL;
    }
    room->api = api;
    room->last = &room->first;
    snprintf(room->session, sizeof(room->session), "%s", id ? id : "");
    snprintf(room->user, sizeof(room->user), "%s", user ? user : "");
    if (sandbox && sandbox_id_valid(sandbox))
        snprintf(room->sandbox, sizeof(room->sandbox), "%s", sandbox);
    room->next = api->rooms;
    api->rooms = room;
    return room;
}

static void end_if_idle(struct room *room)
{
    if (room->members || room->references > 0)
        return;
    for (struct room **link = &room->api->rooms; *link; link = &(*link)->next)
        if (*link == room) {
            *link = room->next;
            break;
        }
    sandbox_forget(room);
    json_decref(room->partials);
    json_decref(room->completed);
    free(room->template);
    free(room);
}

void room_hold(struct room *room)
{
    room->references++;
}

void room_release(struct room *room)
{
    room->references--;
    end_if_idle(room);
}

struct room *room_enter(struct api *api, const json_t *session, struct member *member)
{
    struct room *room = find(api, json_string_value(json_object_get(session, "id")));

    if (!room)
        room = make(api, session);
    if (!room)
        return NULL;
    member->room = room;
    member->next = room->members;
    room->members = member;
    return room;
}

void room_leave(struct member *member)
{
    struct room *room = TAKE_PTR(member->room);

    if (!room)
        return;
    for (struct member **link = &room->members; *link; link = &(*link)->next)
        if (*link == member) {
            *link = member->next;
            break;
        }
    end_if_idle(room);
}

json_t *room_envelope(const struct room *room, const char *type, json_t *data)
{
    return chat_envelope(type, NULL, room->session, now_realtime_ms(), data);
}

/* Sending closes no connection on the spot, so the list holds still. */
void room_send(struct room *room, unsigned int roles, const struct member *except, json_t *envelope)
{
    cleanup_json json_t *owned = envelope;
    cleanup_free char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
    struct ws_text message = {.text = text, .length = text ? strlen(text) : 0};

    if (!text)
        return;
    for (struct member *member = room->members; member; member = member->next)
        if ((member->role & roles) && member != except)
            member_send_text(member, &message, owned);
    ws_text_clear(&message);
}

void room_partial_done(struct room *room, const char *id)
{
    size_t i;
    json_t *partial;

    json_array_foreach(room->partials, i, partial)
    {
        if (str_equal(json_string_value(json_object_get(partial, "id")), id)) {
            json_array_remove(room->partials, i);
            return;
        }
    }
}

void room_partial(struct room *room, const struct member *from, json_t *envelope)
{
    const char *id = json_string_value(json_object_get(envelope, "id"));

    if (id) {
        room_partial_done(room, id);
        if (json_array_size(room->partials) == ROOM_PARTIALS_MAX)
            json_array_remove(room->partials, 0);
        json_array_append(room->partials, envelope);
    }
    room_send(room, CHAT_USER | CHAT_AGENT, from, envelope);
}

void room_fail(struct room *room, const struct error *err)
{
    cleanup_json json_t *body = status_error_body(err);
    json_t *detail = json_object_get(body, "error");

    room_send(room, CHAT_USER | CHAT_AGENT, NULL,
              room_envelope(room, "error",
                            json_pack("{s:s, s:s, s:O?}", "error", err->message, "code", err->code,
                                      "detail", json_object_get(detail, "detail"))));
}
