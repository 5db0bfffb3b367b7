/* What happens to sandboxes, for whoever wants to hear of it: kept for a while, so that a client
 * that was away can go on where it was.
 *
 * Each event is a text {"id","type","timestamp","sandbox_id","data"}. Ids grow, also over restarts
 * of the API: they are microseconds of the real-time clock, moved where two would meet. Of each
 * sandbox the last EVENTS_KEPT are kept, so that one that makes much noise costs no other its
 * history; of removed ones for EVENTS_GRAVES further removals. What an init says is hostile: data
 * beyond EVENT_DATA_MAX is left out, and beyond EVENT_RATE events a second they are only counted,
 * in an event "events.dropped". */
#pragma once

#include "api/api.h"
#include "base/id.h"

#include <jansson.h>
#include <stddef.h>

#define EVENTS_KEPT    64u
#define EVENTS_GRAVES  256u
#define EVENT_DATA_MAX (32u << 10) /* bytes of JSON */
#define EVENT_RATE     50u         /* a second, of one sandbox */

struct event {
    int64_t id;
    char *text;
    size_t length;
};

/* A sandbox and what happened to it. */
struct event_box {
    struct event_box *next;
    struct event_hub *hub;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    json_t *identity; /* {"owner"}, as owner_may_see wants it */
    char state[16];
    struct event kept[EVENTS_KEPT]; /* a ring */
    size_t first, count;
    int64_t lost_id; /* of the youngest that is no longer kept; 0: none is lost */
    int64_t second;  /* in which `n_in_second` came */
    unsigned int n_in_second, dropped;
    bool removed;
    unsigned int round; /* of asking for all, that it was last seen in */
    struct init_listener *listener;
    struct browser_errors *browser; /* NULL: none were reported */
};

struct event_listener {
    struct event_listener *next;
    void (*told)(struct event_listener *listener, const struct event_box *box,
                 const struct event *event);
    void *userdata;
};

struct event_hub {
    struct api *api;
    struct event_box *boxes; /* the youngest first */
    struct event_listener *listeners;
    int64_t first_id, last_id; /* nothing is known of before the first */
    unsigned int n_removed, round;
    bool knows_all; /* what is new from here on has just been created */
    char after[SANDBOX_ID_LENGTH + 1];
    sd_event_source *second_source;
};

struct event_hub *event_hub_new(struct api *api);
void event_hub_free(struct event_hub *hub);

/* The supervisor is there (again): asks for all sandboxes. */
void event_hub_refresh(struct event_hub *hub);
/* Its events sandbox.state and sandbox.report. */
void event_hub_sandbox(struct event_hub *hub, json_t *sandbox);
void event_hub_report(struct event_hub *hub, json_t *event);

/* What is kept of a sandbox; NULL: nothing is. */
struct event_box *event_hub_find(struct event_hub *hub, const char *sandbox);

void event_listen(struct event_hub *hub, struct event_listener *listener);
/* One that does not listen is no error. */
void event_unlisten(struct event_hub *hub, struct event_listener *listener);
