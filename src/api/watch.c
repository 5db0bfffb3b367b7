/* WS …/watch: what changes below the project's folder, as
 * {"type":"files","changes":[{"path","kind": "created"|"changed"|"removed"}],"overflow"}. The init
 * gathers changes for a moment and leaves out node_modules, .git and folders of build output;
 * "overflow" says that there were more than it keeps, so that the reader looks for itself.
 * {"type":"watching"} comes first: changes from then on are told. The connection ends with the
 * sandbox (close code 1001). */
#include "api/handlers.h"

#include "api/file-schema.h"
#include "api/init-events.h"
#include "api/inits.h"
#include "api/ws.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <string.h>
#include <wslay/wslay.h>

#define QUEUE_MAX        (1u << 20) /* bytes */
#define CODE_SLOW_READER 4008       /* as of chat connections */
#define PROJECT          "/app"

struct watcher {
    struct http_request *request;
    struct ws *ws;
    struct init_listener *listener;
    const char *below; /* relative to the project, without slashes at its ends; "": all */
    size_t below_length;
};

/* `object` is stolen. */
static void send_object(struct watcher *watcher, json_t *object)
{
    cleanup_json json_t *owned = object;
    cleanup_free char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
    struct ws_text message = {.text = text, .length = text ? strlen(text) : 0};

    if (!text)
        return;
    if (ws_queued(watcher->ws) + message.length > QUEUE_MAX)
        ws_close(watcher->ws, CODE_SLOW_READER);
    else
        ws_send_text(watcher->ws, &message);
    ws_text_clear(&message);
}

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
        send_object(watcher, json_pack("{s:s, s:O, s:b}", "type", "files", "changes", wanted,
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

    ws_close(watcher->ws, WSLAY_CODE_GOING_AWAY);
}

static const struct init_handler init_handler = {.event = on_event, .lost = on_lost};

/* ---- the connection
 * -------------------------------------------------------------------------------------- */

static void on_opened(void *userdata)
{
    struct watcher *watcher = userdata;

    send_object(watcher, json_pack("{s:s}", "type", "watching"));
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

static void stop_listening(void *userdata)
{
    struct watcher *watcher = userdata;

    init_unlisten(TAKE_PTR(watcher->listener));
}

static const struct ws_handler handler = {.deflate = true,
                                          .opened = on_opened,
                                          .message = on_message,
                                          .writable = on_writable,
                                          .closed = stop_listening};

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
    watcher->request = request;
    choose_below(watcher, query->path);
    watcher->listener = init_listen(request->api, request->captures[0], &init_handler, watcher);
    int r = watcher->listener ? ws_accept(request, &handler, watcher, &watcher->ws, err)
                              : error_oom(err);
    if (r < 0) {
        stop_listening(watcher);
        free(watcher);
        return r;
    }
    request->state = watcher;
    request->state_free = free_watcher;
    http_on_abort(request, on_abort);
    return 0;
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
