/* Theory of operation: see hub.h. A sandbox that runs is listened to for as long as it does, which
 * keeps a connection to its init. After the supervisor was away all sandboxes are asked for, and
 * those whose state is another than the last one heard of have had an event. */
#include "api/events/hub.h"

#include "api/events/browser.h"
#include "api/handlers.h"
#include "api/init-events.h"
#include "api/inits.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define PAGE 64

/* What an init's events are called here, and the member that is their data; others are of no
 * interest. */
static const struct {
    const char *init, *type, *member;
} types[] = {
    {"service.state", "dev_server.state", "service"},
    {"ports", "ports", "ports"},
    {"process.exit", "process.exit", "process"},
};

/* ---- boxes
 * ------------------------------------------------------------------------------------------- */

struct event_box *event_hub_find(struct event_hub *hub, const char *sandbox)
{
    for (struct event_box *box = hub->boxes; box; box = box->next)
        if (str_equal(box->sandbox, sandbox))
            return box;
    return NULL;
}

/* Of one that has any. */
static const struct event *last_event(const struct event_box *box)
{
    return &box->kept[(box->first + box->count - 1) % EVENTS_KEPT];
}

static void box_free(struct event_box *box)
{
    init_unlisten(box->listener);
    for (size_t i = 0; i < EVENTS_KEPT; i++)
        free(box->kept[i].text);
    json_decref(box->identity);
    browser_errors_free(box->browser);
    free(box);
}

/* The oldest grave stands last. */
static void dig_up(struct event_hub *hub)
{
    struct event_box **oldest = NULL;

    if (hub->n_removed <= EVENTS_GRAVES)
        return;
    for (struct event_box **link = &hub->boxes; *link; link = &(*link)->next)
        if ((*link)->removed)
            oldest = link;
    struct event_box *box = *oldest;
    *oldest = box->next;
    hub->n_removed--;
    if (box->count > 0 && hub->first_id < last_event(box)->id)
        hub->first_id = last_event(box)->id;
    box_free(box);
}

/* ---- events
 * ------------------------------------------------------------------------------------------ */

static int64_t next_id(struct event_hub *hub)
{
    int64_t now = now_realtime_ms() * 1000;

    hub->last_id = now > hub->last_id ? now : hub->last_id + 1;
    return hub->last_id;
}

static void keep(struct event_box *box, struct event event)
{
    struct event *place = &box->kept[(box->first + box->count) % EVENTS_KEPT];

    if (box->count == EVENTS_KEPT) {
        box->lost_id = place->id;
        box->first = (box->first + 1) % EVENTS_KEPT;
        box->count--;
    }
    free(place->text);
    *place = event;
    box->count++;
}

/* `data` is stolen. */
static void publish(struct event_hub *hub, struct event_box *box, const char *type, json_t *data)
{
    int64_t id = next_id(hub);
    cleanup_json json_t *object =
        json_pack("{s:I, s:s, s:I, s:s, s:o}", "id", (json_int_t)id, "type", type, "timestamp",
                  (json_int_t)now_realtime_ms(), "sandbox_id", box->sandbox, "data", data);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    if (!text) {
        log_warning("an event of sandbox %s is lost: out of memory", box->sandbox);
        box->lost_id = id;
        return;
    }
    keep(box, (struct event){id, text, strlen(text)});
    const struct event *event = last_event(box);
    for (struct event_listener *at = hub->listeners, *next; at; at = next) {
        next = at->next;
        at->told(at, box, event);
    }
}

static void tell_dropped(struct event_hub *hub, struct event_box *box)
{
    unsigned int dropped = box->dropped;

    box->dropped = 0;
    if (dropped > 0)
        publish(hub, box, "events.dropped", json_pack("{s:i}", "count", (int)dropped));
}

static int on_second(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct event_hub *hub = userdata;

    (void)source;
    (void)usec;
    for (struct event_box *box = hub->boxes; box; box = box->next)
        tell_dropped(hub, box);
    return 0;
}

static bool is_too_many(struct event_hub *hub, struct event_box *box)
{
    int64_t second = now_monotonic_ms() / 1000;

    if (second != box->second) {
        box->second = second;
        box->n_in_second = 0;
    }
    if (box->n_in_second++ < EVENT_RATE)
        return false;
    if (box->dropped++ == 0) {
        sd_event_source_set_time_relative(hub->second_source, 1000000);
        sd_event_source_set_enabled(hub->second_source, SD_EVENT_ONESHOT);
    }
    return true;
}

/* ---- what inits tell
 * --------------------------------------------------------------------------------- */

static void on_init_event(void *userdata, const char *name, json_t *event)
{
    struct event_box *box = userdata;

    for (size_t i = 0; i < ELEMENTS(types); i++) {
        json_t *data = json_object_get(event, types[i].member);
        if (!str_equal(name, types[i].init) || !data)
            continue;
        if (is_too_many(box->hub, box) || json_dumpb(data, NULL, 0, 0) > EVENT_DATA_MAX)
            data = NULL;
        if (data)
            publish(box->hub, box, types[i].type, json_pack("{s:O}", types[i].member, data));
    }
}

/* Ends with the sandbox: its state will tell. */
static void on_init_lost(void *userdata)
{
    (void)userdata;
}

static const struct init_handler init_handler = {.event = on_init_event, .lost = on_init_lost};

/* Any request makes the connection. */
static void attend(struct event_box *box)
{
    struct api *api = box->hub->api;

    if (!box->listener)
        box->listener = init_listen(api, box->sandbox, &init_handler, box);
    if (box->listener)
        init_tell(api, box->sandbox, "ping", json_object());
}

/* ---- what pages report
 * -------------------------------------------------------------------------------- */

void event_hub_report(struct event_hub *hub, json_t *event)
{
    const char *id = json_string_value(json_object_get(event, "sandbox"));
    struct event_box *box = id ? event_hub_find(hub, id) : NULL;
    json_t *report = json_object_get(event, "report");

    if (!box || box->removed || !json_is_object(report) || is_too_many(hub, box))
        return;
    json_object_set(report, "port", json_object_get(event, "port"));
    publish(hub, box, "browser.error", json_incref(report));
    browser_errors_keep(&box->browser, hub->last_id, now_realtime_ms(), report);
}

/* ---- what the supervisor tells
 * --------------------------------------------------------------------------- */

static struct event_box *add(struct event_hub *hub, const char *id)
{
    struct event_box *box = calloc(1, sizeof(*box));

    if (!box)
        return NULL;
    box->hub = hub;
    snprintf(box->sandbox, sizeof(box->sandbox), "%s", id);
    box->next = hub->boxes;
    hub->boxes = box;
    return box;
}

static void take_identity(struct event_box *box, const json_t *sandbox)
{
    json_t *owner = json_object_get(sandbox, "owner");

    if (!box->identity)
        box->identity = json_pack("{s:O?}", "owner", owner);
}

static void bury(struct event_hub *hub, struct event_box *box)
{
    init_unlisten(box->listener);
    box->listener = NULL;
    browser_errors_free(box->browser);
    box->browser = NULL;
    box->removed = true;
    hub->n_removed++;
    dig_up(hub);
}

static void set_state(struct event_hub *hub, struct event_box *box, const char *state, json_t *data)
{
    snprintf(box->state, sizeof(box->state), "%s", state);
    if (data)
        publish(hub, box, "sandbox.state", data);
    if (str_equal(state, "running")) {
        attend(box);
    } else if (str_equal(state, "removed")) {
        bury(hub, box);
    } else {
        init_unlisten(box->listener);
        box->listener = NULL;
    }
}

/* Id and state of a sandbox object, if it has them. */
static bool read_sandbox(const json_t *sandbox, const char **ret_id, const char **ret_state)
{
    *ret_id = json_string_value(json_object_get(sandbox, "id"));
    *ret_state = json_string_value(json_object_get(sandbox, "state"));
    return *ret_id && *ret_state && sandbox_id_valid(*ret_id);
}

/* The box of a sandbox that was seen just now; `box`: the one that is there, or NULL. */
static struct event_box *see(struct event_hub *hub, struct event_box *box, const char *id,
                             const json_t *sandbox)
{
    if (!box)
        box = add(hub, id);
    if (!box)
        return NULL;
    take_identity(box, sandbox);
    box->round = hub->round;
    return box;
}

void event_hub_sandbox(struct event_hub *hub, json_t *sandbox)
{
    const char *id, *state;

    if (!read_sandbox(sandbox, &id, &state))
        return;
    struct event_box *box = event_hub_find(hub, id);
    bool removed = str_equal(state, "removed");
    if (box ? box->removed : removed)
        return;
    box = see(hub, box, id, sandbox);
    if (box)
        set_state(hub, box, state,
                  removed ? json_incref(sandbox) : sandbox_to_client(hub->api, sandbox));
}

/* ---- asking for all
 * --------------------------------------------------------------------------------------- */

static void ask_page(struct event_hub *hub);

static void take_listed(struct event_hub *hub, json_t *sandbox)
{
    const char *id, *state;

    if (!read_sandbox(sandbox, &id, &state))
        return;
    snprintf(hub->after, sizeof(hub->after), "%s", id);
    struct event_box *box = event_hub_find(hub, id);
    if (hub->knows_all && (!box || !str_equal(box->state, state))) {
        event_hub_sandbox(hub, sandbox);
        return;
    }
    box = see(hub, box, id, sandbox);
    if (box)
        set_state(hub, box, state, NULL);
}

static void miss_the_rest(struct event_hub *hub)
{
    for (struct event_box *box = hub->boxes, *next; box; box = next) {
        next = box->next;
        if (box->removed || box->round == hub->round)
            continue;
        cleanup_json json_t *gone = json_pack("{s:s, s:s}", "id", box->sandbox, "state", "removed");
        if (gone)
            set_state(hub, box, "removed", json_incref(gone));
        next = hub->boxes; /* a grave may have been dug up */
    }
}

static void on_page(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct event_hub *hub = userdata;
    json_t *page = json_object_get(result, "sandboxes");
    size_t i;
    json_t *sandbox;

    (void)fds;
    if (!result) {
        if (err->err != ECONNRESET)
            log_warning("events: the sandboxes are not known: %s", err->message);
        return;
    }
    json_array_foreach(page, i, sandbox) take_listed(hub, sandbox);
    if (json_is_true(json_object_get(result, "more")) && json_array_size(page) > 0) {
        ask_page(hub);
        return;
    }
    miss_the_rest(hub);
    hub->knows_all = true;
}

static void ask_page(struct event_hub *hub)
{
    json_t *params = json_pack("{s:i}", "limit", PAGE);

    if (params && hub->after[0])
        json_object_set_new(params, "after", json_string(hub->after));
    supervisor_call(hub->api->supervisor, "sandbox.list", params, CALL_REPEATABLE, on_page, hub);
}

void event_hub_refresh(struct event_hub *hub)
{
    hub->after[0] = '\0';
    hub->round++;
    ask_page(hub);
}

/* ---- the hub
 * --------------------------------------------------------------------------------------------- */

struct event_hub *event_hub_new(struct api *api)
{
    struct event_hub *hub = calloc(1, sizeof(*hub));

    if (!hub)
        return NULL;
    hub->api = api;
    hub->first_id = hub->last_id = now_realtime_ms() * 1000;
    if (sd_event_add_time_relative(api->event, &hub->second_source, CLOCK_MONOTONIC, 0, 0,
                                   on_second, hub) < 0 ||
        sd_event_source_set_enabled(hub->second_source, SD_EVENT_OFF) < 0) {
        event_hub_free(hub);
        return NULL;
    }
    return hub;
}

void event_hub_free(struct event_hub *hub)
{
    if (!hub)
        return;
    while (hub->boxes) {
        struct event_box *box = hub->boxes;
        hub->boxes = box->next;
        box_free(box);
    }
    sd_event_source_disable_unref(hub->second_source);
    free(hub);
}

void event_listen(struct event_hub *hub, struct event_listener *listener)
{
    listener->next = hub->listeners;
    hub->listeners = listener;
}

void event_unlisten(struct event_hub *hub, struct event_listener *listener)
{
    for (struct event_listener **link = &hub->listeners; *link; link = &(*link)->next)
        if (*link == listener) {
            *link = listener->next;
            return;
        }
}
