/* WS …/watch: what changes below the project's folder, as
 * {"type":"files","changes":[{"path","kind": "created"|"changed"|"removed"}],"overflow"}. The init
 * gathers changes for a moment and leaves out node_modules, .git and folders of build output;
 * "overflow" says that there were more than it keeps, so that the reader looks for itself.
 * {"type":"watching"} comes first: changes from then on are told. The connection ends with the
 * sandbox (close code 1001). */
#include "api/handlers.h"

#include "api/feed.h"
#include "api/file-schema.h"
#include "api/init-events.h"
#include "api/inits.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <string.h>
#include <wslay/wslay.h>

#define QUEUE_MAX (1u << 20) /* bytes */
#define PROJECT   "/app"

struct watcher {
    struct feed feed;
    struct init_listener *listener;
    const char *below; /* relative to the project, without slashes at its ends; "": all */
    size_t below_length;
};

static bool is_below(const struct watcher *watcher, const char *path)
{
    size_t n = watcher->below_length;

    return n == 0 || (strncmp(path, watcher->below, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}

static void tell_changes(struct watcher *watcher, const json_t *event)
{
    cleanup_json json_t *wanted = json_array();
    bool overflow = json_is_true(json_object_get(event, "overflow"));
    size_t i;
    json_t *change;

    json_array_foreach(json_object_get(event, "changes"), i, change)
    {
        const char *path = json_string_value(json_object_get(change, "path"));
        if (path && is_below(watcher, path))
            json_array_append(wanted, change);
    }
    if (overflow || json_array_size(wanted) > 0)
        feed_object(&watcher->feed, json_pack("{s:s, s:O, s:b}", "type", "files", "changes", wanted,
                                              "overflow", overflow));
}

static void on_event(void *userdata, const char *name, json_t *event)
{
    if (str_equal(name, "files"))
        tell_changes(userdata, event);
}

static void on_lost(void *userdata)
{
    struct watcher *watcher = userdata;

    feed_close(&watcher->feed, WSLAY_CODE_GOING_AWAY);
}

static const struct init_handler init_handler = {.event = on_event, .lost = on_lost};

/* ---- the connection
 * -------------------------------------------------------------------------------------- */

static void on_opened(struct feed *feed)
{
    feed_object(feed, json_pack("{s:s}", "type", "watching"));
}

static void stop_listening(struct feed *feed)
{
    init_unlisten(TAKE_PTR(((struct watcher *)feed)->listener));
}

/* As file paths are written elsewhere: relative to the project, or absolute. */
static void choose_below(struct watcher *watcher, const char *path)
{
    path = path ? path : "";
    if (str_starts(path, PROJECT "/") || str_equal(path, PROJECT))
        path += strlen(PROJECT);
    while (*path == '/' || str_starts(path, "./"))
        path += *path == '/' ? 1 : 2;
    watcher->below = str_equal(path, ".") ? "" : path;
    watcher->below_length = strlen(watcher->below);
    while (watcher->below_length > 0 && watcher->below[watcher->below_length - 1] == '/')
        watcher->below_length--;
}

static int accept_watcher(struct http_request *request, struct error *err)
{
    const struct file_query *query = (const void *)request->query_data.bytes;
    struct watcher *watcher = calloc(1, sizeof(*watcher));

    if (!watcher)
        return error_oom(err);
    watcher->feed =
        (struct feed){.queue_max = QUEUE_MAX, .opened = on_opened, .closed = stop_listening};
    choose_below(watcher, query->path);
    watcher->listener = init_listen(request->api, request->captures[0], &init_handler, watcher);
    int r = watcher->listener ? feed_accept(request, &watcher->feed, err) : error_oom(err);
    if (r < 0) {
        stop_listening(&watcher->feed);
        free(watcher);
    }
    return r;
}

static void on_watched(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    struct error own = ERROR_NONE;

    (void)fds;
    if (!result || accept_watcher(request, &own) < 0)
        http_fail(request, result ? &own : err);
}

/* Watched before the upgrade: what is wrong with the sandbox can then be said in HTTP. */
HANDLER(file_watch_socket)
{
    (void)query;
    (void)body;
    (void)err;
    init_call(request->api, request->captures[0], "file.watch", json_object(), -1, on_watched,
              request);
    return 0;
}
