/* Theory of operation: the first `init` of a room finds its sandbox, starts it if it is stopped, or
 * makes one from the template and writes it into the session's row; whoever asks meanwhile is
 * answered with the same. Then the dev server is started if none is set, and from there on file
 * changes and the dev server's state are heard of. A session may name any sandbox: one that is not
 * its user's counts as none. */
#include "api/chat/room.h"

#include "api/dev-schema.h"
#include "api/dev-start.h"
#include "api/dev-wait.h"
#include "api/handlers.h"
#include "api/inits.h"
#include "api/store/users.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define PREVIEW_S     ((int64_t)12 * 3600) /* a private preview's URL opens it */
#define SETTLE_MAX_US ((uint64_t)30 * 1000 * 1000)

static void progress(struct room *room, const char *stage, const char *text)
{
    room_send(room, CHAT_USER | CHAT_AGENT, NULL,
              room_envelope(room, "update_in_progress",
                            json_pack("{s:s, s:s}", "text", text, "stage", stage)));
}

/* With a token where the preview opens with one only: whoever asks is its owner. NULL without
 * memory. */
static char *preview_url(const struct room *room, const json_t *sandbox)
{
    bool is_private = str_equal(json_string_value(json_object_get(sandbox, "access")), "private");
    int64_t expires_at = now_realtime_ms() / 1000 + PREVIEW_S;
    char token[PREVIEW_TOKEN_LENGTH + 1];
    char *url =
        is_private ? preview_token_url(room->api, sandbox, 0, expires_at, token, NULL) : NULL;

    return url ? url : sandbox_url(room->api, room->sandbox, 0);
}

static void answer(struct member *member, const char *url)
{
    struct room *room = member->room;

    member_send(member, room_envelope(room, "init",
                                      json_pack("{s:s*, s:s, s:s, s:b}", "url", url, "sandbox_id",
                                                room->sandbox, "session_id", room->session,
                                                "exists", room->existed)));
}

static void on_access(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct room *room = userdata;
    cleanup_free char *url = result ? preview_url(room, json_object_get(result, "sandbox")) : NULL;

    (void)fds;
    for (struct member *member = room->members; member; member = member->next) {
        if (!member->awaits_init)
            continue;
        member->awaits_init = false;
        if (result)
            answer(member, url);
        else
            member_fail(member, NULL, err);
    }
    room_release(room);
}

/* Answers all that wait, with who may open the preview as of now. */
static void answer_all(struct room *room)
{
    room_hold(room);
    supervisor_call(room->api->supervisor, "sandbox.get",
                    json_pack("{s:s}", "sandbox", room->sandbox), CALL_REPEATABLE, on_access, room);
}

static void give_up(struct room *room, const struct error *err)
{
    room->state = ROOM_NO_SANDBOX;
    for (struct member *member = room->members; member; member = member->next) {
        if (member->awaits_init)
            member_fail(member, NULL, err);
        member->awaits_init = false;
    }
    room_release(room);
}

/* ---- update_completed waits for the dev server
 * --------------------------------------------------- */

static void flush_completed(struct room *room, json_t *service)
{
    json_t *state = json_object_get(service, "state");
    size_t i;
    json_t *envelope;

    room->settle_timer = sd_event_source_disable_unref(room->settle_timer);
    json_array_foreach(room->completed, i, envelope)
    {
        if (state)
            json_object_set(json_object_get(envelope, "data"), "dev_server", state);
        room_send(room, CHAT_USER | CHAT_AGENT, NULL, json_incref(envelope));
    }
    json_array_clear(room->completed);
}

static void on_service_asked(void *userdata, json_t *result, struct ipc_fds *fds,
                             const struct error *err)
{
    struct room *room = userdata;
    json_t *service = json_object_get(result, "service");

    (void)fds;
    (void)err;
    if (!service || dev_state_settled(service))
        flush_completed(room, service);
    room_release(room);
}

static int on_settle_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    flush_completed(userdata, NULL);
    return 0;
}

void sandbox_completed(struct room *room, json_t *envelope)
{
    json_array_append_new(room->completed, envelope);
    if (room->state != ROOM_READY) {
        flush_completed(room, NULL);
        return;
    }
    if (json_array_size(room->completed) > 1)
        return; /* the question is out */
    sd_event_add_time_relative(room->api->event, &room->settle_timer, CLOCK_MONOTONIC,
                               SETTLE_MAX_US, 0, on_settle_timeout, room);
    room_hold(room);
    init_call(room->api, room->sandbox, "service.get", json_object(), -1, on_service_asked, room);
}

/* ---- what the sandbox tells
 * ---------------------------------------------------------------------- */

static void on_files(struct room *room, json_t *event)
{
    json_t *changes = json_object_get(event, "changes");
    json_t *first = json_object_get(json_array_get(changes, 0), "path");

    if (json_is_array(changes))
        room_send(
            room, CHAT_USER | CHAT_AGENT, NULL,
            room_envelope(room, "file_updated",
                          json_pack("{s:O?, s:O, s:b}", "path", first, "changes", changes,
                                    "overflow", json_is_true(json_object_get(event, "overflow")))));
}

static void on_event(void *userdata, const char *name, json_t *event)
{
    struct room *room = userdata;
    json_t *service = json_object_get(event, "service");

    if (str_equal(name, "files"))
        on_files(room, event);
    if (str_equal(name, "service.state") && json_is_object(service) && dev_state_settled(service) &&
        json_array_size(room->completed) > 0)
        flush_completed(room, service);
}

static void on_lost(void *userdata)
{
    struct room *room = userdata;
    struct error err = ERROR_NONE;

    sandbox_forget(room);
    room->state = ROOM_NO_SANDBOX;
    flush_completed(room, NULL);
    error_set_code(&err, ECONNRESET, "sandbox_ended",
                   "the sandbox has ended: send `init` to have it started again");
    room_fail(room, &err);
}

static const struct init_handler listener = {.event = on_event, .lost = on_lost};

void sandbox_forget(struct room *room)
{
    init_unlisten(TAKE_PTR(room->listener));
    room->settle_timer = sd_event_source_disable_unref(room->settle_timer);
}

/* ---- it runs
 * -------------------------------------------------------------------------------------- */

static void ignore(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)result;
    (void)fds;
    (void)err;
    room_release(userdata);
}

/* A project without a dev server is no error here: its agent will make one. */
static void on_command(void *userdata, json_t *params, const struct error *err)
{
    struct room *room = userdata;

    (void)err;
    if (params)
        init_call(room->api, room->sandbox, "service.set", params, -1, ignore, room);
    else
        room_release(room);
}

static void on_service(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    static const struct dev_body body = {.auto_restart = true};
    struct room *room = userdata;
    json_t *service = json_object_get(result, "service");

    (void)fds;
    (void)err;
    if (!str_equal(json_string_value(json_object_get(service, "state")), "stopped") ||
        dev_start(room->api, room->sandbox, &body, on_command, room, NULL) < 0)
        room_release(room);
}

static void ready(struct room *room)
{
    room->state = ROOM_READY;
    if (!room->listener)
        room->listener = init_listen(room->api, room->sandbox, &listener, room);
    answer_all(room);
    init_tell(room->api, room->sandbox, "file.watch", json_object());
    init_call(room->api, room->sandbox, "service.get", json_object(), -1, on_service, room);
}

/* ---- finding or making it
 * ---------------------------------------------------------------------------- */

static void on_row_written(void *userdata, const struct db_result *results, const struct error *err)
{
    struct room *room = userdata;

    if (!results)
        give_up(room, err);
    else
        ready(room);
}

static void on_created(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct room *room = userdata;
    const char *id = json_string_value(json_object_get(json_object_get(result, "sandbox"), "id"));
    struct who service = {DB_SERVICE, NULL};
    struct error own = ERROR_NONE;

    (void)fds;
    if (result && (!id || !sandbox_id_valid(id)))
        err = (error_set(&own, EPROTO, "the supervisor answered without a sandbox"), &own);
    if (!id || !sandbox_id_valid(id)) {
        give_up(room, err);
        return;
    }
    memcpy(room->sandbox, id, sizeof(room->sandbox));
    cleanup_free char *url = sandbox_url(room->api, id, 0);
    struct session_fields fields = {.sandbox_id = id, .iframe_url = url, .is_active = -1};
    session_update(room->api->db, &service, room->session, &fields, now_realtime_ms(),
                   on_row_written, room);
}

static void create(struct room *room)
{
    const char *template = room->template ? room->template : room->api->config.sandbox_template;
    cleanup_free char *text = str_format("Making a sandbox from the template %s", template);

    room->existed = false;
    progress(room, "sandbox", text ? text : "Making a sandbox");
    supervisor_call(room->api->supervisor, "sandbox.create",
                    json_pack("{s:s, s:s, s:{s:s}}", "template", template, "owner", room->user,
                              "labels", "session", room->session),
                    CALL_ONCE, on_created, room);
}

static void on_started(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)fds;
    if (result)
        ready(userdata);
    else
        give_up(userdata, err);
}

static bool is_of_user(const struct room *room, const json_t *sandbox)
{
    const char *owner = json_string_value(json_object_get(sandbox, "owner"));
    char user[DB_USER_SIZE];

    return owner && user_of_owner(*owner ? owner : "admin", user) == 0 &&
           str_equal(user, room->user);
}

static void on_found(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct room *room = userdata;
    json_t *sandbox = json_object_get(result, "sandbox");

    (void)fds;
    if (!result && !str_equal(err->code, "sandbox_not_found")) {
        give_up(room, err);
        return;
    }
    if (!result || !is_of_user(room, sandbox)) {
        create(room);
        return;
    }
    room->existed = true;
    if (str_equal(json_string_value(json_object_get(sandbox, "state")), "running")) {
        ready(room);
        return;
    }
    progress(room, "sandbox", "Starting the sandbox");
    supervisor_call(room->api->supervisor, "sandbox.start",
                    json_pack("{s:s}", "sandbox", room->sandbox), CALL_REPEATABLE, on_started,
                    room);
}

void sandbox_prepare(struct member *member, const char *template)
{
    struct room *room = member->room;

    member->awaits_init = true;
    if (room->state == ROOM_READY) {
        answer_all(room);
        return;
    }
    if (room->state == ROOM_PREPARING)
        return;
    room->state = ROOM_PREPARING;
    room_hold(room); /* until it is ready, or given up */
    if (template) {
        free(room->template);
        room->template = strdup(template);
    }
    if (room->sandbox[0])
        supervisor_call(room->api->supervisor, "sandbox.get",
                        json_pack("{s:s}", "sandbox", room->sandbox), CALL_REPEATABLE, on_found,
                        room);
    else
        create(room);
}
