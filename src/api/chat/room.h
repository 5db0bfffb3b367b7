/* A session with somebody on it: the connections of both sides, what goes between them, and the
 * sandbox that they work on.
 *
 *   room.c     who is there, passing on, partial texts
 *   member.c   one WebSocket: its messages in, its queue out, replay
 *   keep.c     user and assistant messages into the database, one after the other
 *   sandbox.c  the sandbox of a session: found or made, its dev server, its file changes
 *   files.c    the project's files as one message */
#pragma once

#include "api/auth.h"
#include "api/chat/message.h"
#include "api/init-events.h"
#include "api/store/sessions.h"
#include "api/ws.h"
#include "base/id.h"

#define ROOM_PARTIALS_MAX 8u
#define ROOM_KEEPING_MAX  256u
#define MEMBER_QUEUE_MAX  ((size_t)4 << 20) /* bytes that a slow reader may be behind */

struct room;
struct keeping;

struct member {
    struct member *next;
    struct api *api;
    struct http_request *request; /* alive as long as this */
    struct ws *ws;
    struct room *room; /* NULL: no session chosen yet */
    struct principal who;
    enum chat_role role;
    unsigned int references; /* of the request, and of what is under way for it */
    bool gone, joining, wants_acks, awaits_init, told_slow;
    /* replay: what happens meanwhile waits */
    bool replaying, replay_waits;
    int64_t since; /* seq; -1: no replay */
    json_t *held;  /* array of envelopes */
};

enum room_sandbox { ROOM_NO_SANDBOX, ROOM_PREPARING, ROOM_READY };

struct room {
    struct room *next;
    struct api *api;
    char session[DB_USER_SIZE], user[DB_USER_SIZE];
    struct member *members;
    unsigned int
        references;   /* what is under way for it; with no members and none of these it ends */
    json_t *partials; /* array of the last envelope of each id */
    struct keeping *first, **last; /* to be kept; the first is being so */
    size_t n_keeping;
    /* the sandbox */
    enum room_sandbox state;
    char sandbox[SANDBOX_ID_LENGTH + 1]; /* "": none */
    char *template;                      /* wanted for a new one, or NULL */
    bool existed;
    struct init_listener *listener;
    json_t *completed; /* array of update_completed envelopes that wait for the dev server */
    sd_event_source *settle_timer;
};

/* room.c */
struct room *room_enter(struct api *api, const json_t *session, struct member *member);
void room_leave(struct member *member);
void room_hold(struct room *room);
void room_release(struct room *room);
/* To all of these roles but `except` (may be NULL). `envelope` is stolen; NULL: out of memory. */
void room_send(struct room *room, unsigned int roles, const struct member *except,
               json_t *envelope);
/* The same, kept as the latest text under its id until room_partial_done. */
void room_partial(struct room *room, const struct member *from, json_t *envelope);
void room_partial_done(struct room *room, const char *id);
json_t *room_envelope(const struct room *room, const char *type, json_t *data);
/* An `error` message for all. */
void room_fail(struct room *room, const struct error *err);

/* member.c */
void member_send(struct member *member, json_t *envelope);
/* One text for many; `envelope` is what it was made of. */
void member_send_text(struct member *member, struct ws_text *text, json_t *envelope);
/* `id`: of the message that it is about, or NULL. */
void member_fail(struct member *member, const char *id, const struct error *err);
void member_hold(struct member *member);
void member_release(struct member *member);
struct who member_who(const struct member *member);

/* keep.c: `envelope` is borrowed. */
void keep_message(struct member *from, const struct chat_message *message, json_t *envelope);
void keep_drop_all(struct room *room);
/* The envelope of a kept message, as it was sent. */
json_t *keep_to_envelope(const json_t *row);

/* sandbox.c */
/* Answers the member with `init` once the session has a sandbox that runs. */
void sandbox_prepare(struct member *member, const char *template);
void sandbox_forget(struct room *room);
/* Passes an update_completed on once the dev server has settled. Stolen. */
void sandbox_completed(struct room *room, json_t *envelope);

/* files.c */
void files_send(struct member *member, const char *id);
