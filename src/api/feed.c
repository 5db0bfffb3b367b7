/* Theory of operation: see feed.h. */
#include "api/feed.h"

#include "api/ws.h"
#include "base/cleanup.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

void feed_close(struct feed *feed, uint16_t code)
{
    feed->over = true;
    ws_close(feed->ws, code);
}

void feed_text(struct feed *feed, const char *text, size_t length)
{
    struct ws_text message = {.text = text, .length = length};

    if (feed->over)
        return;
    if (feed->queue_max > 0 && ws_queued(feed->ws) + length > feed->queue_max) {
        feed_close(feed, FEED_SLOW_READER);
        return;
    }
    ws_send_text(feed->ws, &message);
    ws_text_clear(&message);
}

void feed_object(struct feed *feed, json_t *object)
{
    cleanup_json json_t *owned = object;
    cleanup_free char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

    if (text)
        feed_text(feed, text, strlen(text));
}

static void on_opened(void *userdata)
{
    struct feed *feed = userdata;

    feed->opened(feed);
}

static void on_message(void *userdata, bool binary, const char *data, size_t length)
{
    (void)binary;
    (void)data;
    (void)length;
    feed_close(userdata, WSLAY_CODE_POLICY_VIOLATION);
}

static void on_writable(void *userdata)
{
    (void)userdata;
}

static void on_closed(void *userdata)
{
    struct feed *feed = userdata;

    feed->over = true;
    feed->closed(feed);
}

static const struct ws_handler handler = {.deflate = true,
                                          .opened = on_opened,
                                          .message = on_message,
                                          .writable = on_writable,
                                          .closed = on_closed};

static void on_abort(struct http_request *request)
{
    struct feed *feed = request->state;

    ws_abort(feed->ws, WSLAY_CODE_GOING_AWAY);
}

static void free_feed(void *state)
{
    struct feed *feed = state;

    feed->closed(feed);
    ws_free(feed->ws);
    free(feed);
}

int feed_accept(struct http_request *request, struct feed *feed, struct error *err)
{
    feed->request = request;
    int r = ws_accept(request, &handler, feed, &feed->ws, err);
    if (r < 0)
        return r;
    request->state = feed;
    request->state_free = free_feed;
    http_on_abort(request, on_abort);
    return 0;
}
