/* WS /v1/events: first what was kept of the sandboxes that the caller may see, by id, then
 * {"type":"replayed","id":N}, then everything as it happens. Without `since` the replay is empty,
 * with 0 it is all that is kept. Where something between `since` and what is kept is gone a
 * {"type":"gap"} comes first; with "sandbox_id" it is of that sandbox only. Whoever wants to miss
 * nothing reads the state anew then.
 *
 * What waits for a slow reader is bounded: it is told and closed, and may come back with the id of
 * the last event that it got. */
#include "api/events/hub.h"

#include "api/events/event-schema.h"
#include "api/handlers.h"
#include "api/owner.h"
#include "api/ws.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#define QUEUE_MAX        (4u << 20) /* bytes; a replay of all that is kept may be more */
#define CODE_SLOW_READER 4008       /* as of chat connections */

struct watcher {
    struct event_listener listener; /* first: told() gets it */
    struct http_request *request;
    struct ws *ws;
    char sandbox[SANDBOX_ID_LENGTH + 1]; /* "": all */
    int64_t since;                       /* -1: from now on */
    bool listening, over;
};

static bool wants(const struct watcher *watcher, const struct event_box *box)
{
    return (!watcher->sandbox[0] || str_equal(watcher->sandbox, box->sandbox)) &&
           owner_may_see(watcher->request, box->identity);
}

static void send_text(struct watcher *watcher, const char *data, size_t length)
{
    struct ws_text text = {.text = data, .length = length};

    ws_send_text(watcher->ws, &text);
    ws_text_clear(&text);
}

/* `object` is stolen. */
static void send_object(struct watcher *watcher, json_t *object)
{
    cleanup_json json_t *owned = object;
    cleanup_free char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

    if (text)
        send_text(watcher, text, strlen(text));
}

static void on_told(struct event_listener *listener, const struct event_box *box,
                    const struct event *event)
{
    struct watcher *watcher = (struct watcher *)listener;

    if (watcher->over || !wants(watcher, box))
        return;
    if (ws_queued(watcher->ws) + event->length > QUEUE_MAX) {
        watcher->over = true;
        ws_close(watcher->ws, CODE_SLOW_READER);
        return;
    }
    send_text(watcher, event->text, event->length);
}

/* ---- the replay
 * ------------------------------------------------------------------------------------------ */

static void tell_gap(struct watcher *watcher, const struct event_box *box)
{
    send_object(watcher,
                json_pack("{s:s, s:I, s:s*}", "type", "gap", "since", (json_int_t)watcher->since,
                          "sandbox_id", box ? box->sandbox : NULL));
}

static void tell_gaps(struct watcher *watcher, const struct event_hub *hub)
{
    if (watcher->since < hub->first_id)
        tell_gap(watcher, NULL);
    for (const struct event_box *box = hub->boxes; box; box = box->next)
        if (box->lost_id > watcher->since && wants(watcher, box))
            tell_gap(watcher, box);
}

static size_t collect(const struct watcher *watcher, const struct event_hub *hub,
                      const struct event **list)
{
    size_t n = 0;

    for (const struct event_box *box = hub->boxes; box; box = box->next)
        for (size_t i = 0; i < box->count && wants(watcher, box); i++) {
            const struct event *event = &box->kept[(box->first + i) % EVENTS_KEPT];
            if (event->id <= watcher->since)
                continue;
            if (list)
                list[n] = event;
            n++;
        }
    return n;
}

static int by_id(const void *a, const void *b)
{
    const struct event *x = *(const struct event *const *)a, *y = *(const struct event *const *)b;

    return (x->id > y->id) - (x->id < y->id);
}

static void replay(struct watcher *watcher, const struct event_hub *hub)
{
    size_t n = collect(watcher, hub, NULL);
    cleanup_free const struct event **list = n > 0 ? calloc(n, sizeof(*list)) : NULL;

    if (watcher->since > 0)
        tell_gaps(watcher, hub);
    if (!list)
        return;
    collect(watcher, hub, list);
    qsort(list, n, sizeof(*list), by_id);
    for (size_t i = 0; i < n; i++)
        send_text(watcher, list[i]->text, list[i]->length);
}

/* ---- the connection
 * -------------------------------------------------------------------------------------- */

static void on_opened(void *userdata)
{
    struct watcher *watcher = userdata;
    struct event_hub *hub = watcher->request->api->events;

    if (watcher->since >= 0)
        replay(watcher, hub);
    send_object(watcher,
                json_pack("{s:s, s:I}", "type", "replayed", "id", (json_int_t)hub->last_id));
    watcher->listener.told = on_told;
    watcher->listening = true;
    event_listen(hub, &watcher->listener);
}

static void on_message(void *userdata, bool binary, const char *data, size_t length)
{
    struct watcher *watcher = userdata;

    (void)binary;
    (void)data;
    (void)length;
    ws_close(watcher->ws, WSLAY_CODE_POLICY_VIOLATION); /* there is nothing to be said here */
}

static void on_writable(void *userdata)
{
    (void)userdata;
}

static void stop_listening(struct watcher *watcher)
{
    if (watcher->listening)
        event_unlisten(watcher->request->api->events, &watcher->listener);
    watcher->listening = false;
}

static void on_closed(void *userdata)
{
    stop_listening(userdata);
}

static const struct ws_handler handler = {.deflate = true,
                                          .opened = on_opened,
                                          .message = on_message,
                                          .writable = on_writable,
                                          .closed = on_closed};

static void on_abort(struct http_request *request)
{
    struct watcher *watcher = request->state;

    ws_abort(watcher->ws, WSLAY_CODE_GOING_AWAY);
}

static void free_watcher(void *state)
{
    struct watcher *watcher = state;

    stop_listening(watcher);
    ws_free(watcher->ws);
    free(watcher);
}

static int accept_watcher(struct http_request *request, const struct event_query *query,
                          struct error *err)
{
    struct watcher *watcher = calloc(1, sizeof(*watcher));

    if (!watcher)
        return error_oom(err);
    watcher->request = request;
    watcher->since = json_object_get(request->query_json, "since") ? query->since : -1;
    if (query->sandbox)
        snprintf(watcher->sandbox, sizeof(watcher->sandbox), "%s", query->sandbox);
    int r = ws_accept(request, &handler, watcher, &watcher->ws, err);
    if (r < 0) {
        free(watcher);
        return r;
    }
    request->state = watcher;
    request->state_free = free_watcher;
    http_on_abort(request, on_abort);
    return 0;
}

static bool is_known(struct http_request *request, const char *sandbox)
{
    for (const struct event_box *box = request->api->events->boxes; box; box = box->next)
        if (str_equal(box->sandbox, sandbox))
            return owner_may_see(request, box->identity);
    return false;
}

/* Removed ones are known for as long as their history is. */
HANDLER(event_socket)
{
    const struct event_query *params = query;

    (void)body;
    if (params->sandbox && !is_known(request, params->sandbox))
        return error_set_code(err, ENOENT, "sandbox_not_found", "there is no sandbox `%s`",
                              params->sandbox);
    return accept_watcher(request, params, err);
}
