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
#include "api/feed.h"
#include "api/handlers.h"
#include "api/owner.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX (4u << 20) /* bytes; a replay of all that is kept may be more */

struct watcher {
    struct feed feed;
    struct event_listener listener;
    char sandbox[SANDBOX_ID_LENGTH + 1]; /* "": all */
    int64_t since;                       /* -1: from now on */
};

static bool wants(const struct watcher *watcher, const struct event_box *box)
{
    return (!watcher->sandbox[0] || str_equal(watcher->sandbox, box->sandbox)) &&
           owner_may_see(watcher->feed.request, box->identity);
}

static void on_told(struct event_listener *listener, const struct event_box *box,
                    const struct event *event)
{
    struct watcher *watcher = listener->userdata;

    if (wants(watcher, box))
        feed_text(&watcher->feed, event->text, event->length);
}

/* ---- the replay
 * ------------------------------------------------------------------------------------------ */

static void tell_gap(struct watcher *watcher, const struct event_box *box)
{
    feed_object(&watcher->feed,
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
        feed_text(&watcher->feed, list[i]->text, list[i]->length);
}

/* ---- the connection
 * -------------------------------------------------------------------------------------- */

static void on_opened(struct feed *feed)
{
    struct watcher *watcher = (struct watcher *)feed;
    struct event_hub *hub = feed->request->api->events;

    if (watcher->since >= 0)
        replay(watcher, hub);
    feed_object(feed, json_pack("{s:s, s:I}", "type", "replayed", "id", (json_int_t)hub->last_id));
    feed->queue_max = QUEUE_MAX;
    event_listen(hub, &watcher->listener);
}

static void on_closed(struct feed *feed)
{
    event_unlisten(feed->request->api->events, &((struct watcher *)feed)->listener);
}

static int accept_watcher(struct http_request *request, const struct event_query *query,
                          struct error *err)
{
    struct watcher *watcher = calloc(1, sizeof(*watcher));

    if (!watcher)
        return error_oom(err);
    *watcher = (struct watcher){
        .feed = {.opened = on_opened, .closed = on_closed},
        .listener = {.told = on_told, .userdata = watcher},
        .since = json_object_get(request->query_json, "since") ? query->since : -1};
    if (query->sandbox)
        snprintf(watcher->sandbox, sizeof(watcher->sandbox), "%s", query->sandbox);
    int r = feed_accept(request, &watcher->feed, err);
    if (r < 0)
        free(watcher);
    return r;
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
