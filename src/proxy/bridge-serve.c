/* Theory of operation: see bridge.h. Anybody who can open the preview can send anything here, so it
 * is bounded before it is read: by its length, by the sandbox's allowance and by the time that the
 * body may take. Only JSON is taken: a page of another site cannot send that without being allowed
 * to, which nobody allows it. */
#include "proxy/bridge.h"

#include "proxy/client.h"
#include "proxy/record.h"

#include <string.h>
#include <sys/eventfd.h>

static void finish(struct client *client, int r)
{
    if (r < 0)
        client_close(client);
    else
        client_replied(client);
}

static const char *connection_of(const struct client *client)
{
    return client->keep_alive ? "keep-alive" : "close";
}

static void give_script(struct client *client)
{
    struct buffer *out = &client->peer.out;
    struct text script = bridge_script();

    client->keep_alive = client->keep_alive && !client->has_body;
    record_status(client, 200, "bridge");
    int r = buffer_hold(&client->worker->buffers, out);
    r = r < 0 ? r
              : buffer_print(out,
                             "HTTP/1.1 200 OK\r\nContent-Type: text/javascript; charset=utf-8\r\n"
                             "Cache-Control: private, max-age=31536000, immutable\r\n"
                             "Cross-Origin-Resource-Policy: same-origin\r\n"
                             "X-Content-Type-Options: nosniff\r\n"
                             "Content-Length: %zu\r\nConnection: %s\r\n",
                             script.length, connection_of(client));
    r = r < 0 ? r : buffer_add_date(out);
    r = r < 0 ? r : buffer_literal(out, "\r\n");
    if (r == 0 && !client->is_head)
        r = buffer_add(out, script.data, script.length);
    finish(client, r);
}

static void accept_reports(struct client *client)
{
    struct buffer *out = &client->peer.out;
    int r = buffer_hold(&client->worker->buffers, out);

    record_status(client, 204, "report");
    r = r < 0 ? r
              : buffer_print(out, "HTTP/1.1 204 No Content\r\nConnection: %s\r\n",
                             connection_of(client));
    r = r < 0 ? r : buffer_add_date(out);
    r = r < 0 ? r : buffer_literal(out, "\r\n");
    finish(client, r);
}

/* What is beyond the allowance, or finds the queue full, is dropped without a word: the page can do
 * nothing about it. */
static void pass_on(struct client *client, json_t *list)
{
    struct proxy *proxy = client->worker->proxy;
    struct sandbox *sandbox = client->site->sandbox;
    struct view view = sandbox_view(sandbox);
    uint16_t port = client->target.port > 0 ? client->target.port : view.port;
    json_t *report;
    size_t i;

    json_array_foreach(list, i,
                       report) if (!reports_admit(&sandbox->reports_until) ||
                                   !reports_put(&proxy->reports, sandbox->id, port, report)) break;
    eventfd_write(proxy->routes.wake, 1);
}

static void take_reports(struct client *client)
{
    struct buffer *in = &client->peer.in;
    struct text body = {buffer_head(in), (size_t)client->up.left};
    struct error err = ERROR_NONE;
    json_t *list = reports_read(body, &err);

    buffer_take(in, body.length);
    client->has_body = false; /* is read */
    client->up.done = true;
    if (!list) {
        reply_error(client, 400, "invalid_report", err.message);
        return;
    }
    pass_on(client, list);
    json_decref(list);
    accept_reports(client);
}

void bridge_run(struct client *client)
{
    struct peer *peer = &client->peer;

    while (peer->in.length < client->up.left) {
        size_t before = peer->in.length;
        if (peer_fill(&client->worker->buffers, peer) < 0 || peer->eof || peer->failed) {
            client_close(client);
            return;
        }
        if (peer->in.length == before)
            return;
    }
    take_reports(client);
}

static bool is_json(struct text type)
{
    const char *end = memchr(type.data, ';', type.length);
    size_t length = end ? (size_t)(end - type.data) : type.length;

    return text_is_case(text_trim((struct text){type.data, length}), TEXT("application/json"));
}

static void begin_reports(struct client *client, const struct head *head)
{
    if (head->body != BODY_LENGTH) {
        reply_error(client, 411, "length_required", "Reports come with their Content-Length.");
    } else if (head->content_length > REPORTS_BODY_MAX) {
        reply_error(client, 413, "reports_too_large", "Reports are at most 65536 bytes together.");
    } else if (!is_json(head_get(head, NAME_CONTENT_TYPE))) {
        reply_error(client, 415, "not_json", "Reports are application/json.");
    } else if (reports_exhausted(&client->site->sandbox->reports_until)) {
        reply_error(client, 429, "too_many_reports", "This preview has reported too much lately.");
    } else {
        buffer_take(&client->peer.in, client->head_length);
        client->head_kept = false;
        if (client->worker->head_owner == client)
            client->worker->head_owner = NULL;
        dispatch_unpark(client);
        client->state = CLIENT_REPORT;
        timer_arm(&client->worker->timers, &client->peer.timer, TIMER_HEAD);
    }
}

void bridge_answer(struct client *client)
{
    const struct head *head = client_head(client);

    if (!head)
        client_close(client);
    else if (client->is_head || text_is(head->method, TEXT("GET")))
        give_script(client);
    else if (text_is(head->method, TEXT("POST")))
        begin_reports(client, head);
    else
        reply_error(client, 405, "method_not_allowed", "The bridge takes GET, HEAD and POST.");
}
