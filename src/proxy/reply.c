/* Theory of operation: what the proxy answers by itself: pages (page.h) to people, JSON to
 * programs, the status document that the pages follow. */
#include "proxy/client.h"

#include "base/cleanup.h"
#include "proxy/count.h"
#include "proxy/page.h"
#include "proxy/record.h"

#include <stdio.h>
#include <string.h>

/* Where a page follows the status, and how it links to another port. */
struct places {
    char poll[128];
    char prefix[128];
    char suffix[AUTHORITY_MAX + 32];
};

static void find_places(const struct client *client, struct places *places)
{
    const struct text *domain = &client->worker->proxy->domain;
    const struct target *target = &client->target;
    const char *colon = strrchr(client->authority, ':');

    if (target->path_prefix > 0) {
        snprintf(places->poll, sizeof(places->poll), "/p/%s/%u/.auracode/status", target->id,
                 target->port);
        snprintf(places->prefix, sizeof(places->prefix), "/p/%s/", target->id);
        snprintf(places->suffix, sizeof(places->suffix), "/");
        return;
    }
    snprintf(places->poll, sizeof(places->poll), "/.auracode/status");
    snprintf(places->prefix, sizeof(places->prefix), client->secure ? "https://" : "http://");
    snprintf(places->suffix, sizeof(places->suffix), "-%s.%.*s%s/", target->id, (int)domain->length,
             domain->data, colon ? colon : "");
}

void reply_page(struct client *client, const struct page *what)
{
    struct buffer *out = &client->peer.out;
    struct page page = *what;
    struct places places;

    find_places(client, &places);
    if (page.poll)
        page.poll = places.poll;
    page.port_prefix = places.prefix;
    page.port_suffix = places.suffix;
    page.hsts_s = client_hsts(client);
    count_answer(client, page.status);
    record_status(client, page.status, page.code);
    bool keep = client->keep_alive && !client->has_body;
    if (buffer_hold(&client->worker->buffers, out) < 0) {
        client_close(client);
        return;
    }
    int r = client->navigation ? page_write_html(out, &page, client->is_head, keep)
                               : page_write_json(out, &page, client->is_head, keep);
    if (r < 0)
        client_close(client);
    else
        client_replied(client);
}

void reply_error(struct client *client, int status, const char *code, const char *message)
{
    struct page page = {
        .status = status, .code = code, .title = page_reason(status), .message = message};

    reply_page(client, &page);
}

void reply_redirect_slash(struct client *client)
{
    struct buffer *out = &client->peer.out;
    const struct target *target = &client->target;
    const struct head *head = client_head(client);
    struct text query = head ? client_path(client, head) : TEXT("/");

    if (query.data[0] != '?')
        query.length = 0;
    record_status(client, 307, "slash_redirect");
    client->keep_alive = client->keep_alive && !client->has_body;
    int r = buffer_hold(&client->worker->buffers, out);
    r = r < 0 ? r
              : buffer_print(out,
                             "HTTP/1.1 307 Temporary Redirect\r\nLocation: /p/%s/%u/%.*s\r\n"
                             "Content-Length: 0\r\nConnection: %s\r\n\r\n",
                             target->id, target->port, (int)query.length, query.data,
                             client->keep_alive ? "keep-alive" : "close");
    if (r < 0)
        client_close(client);
    else
        client_replied(client);
}

/* 308 keeps method and body; HSTS says nothing in clear, so it takes effect behind the redirect. */
void reply_redirect_tls(struct client *client)
{
    struct buffer *out = &client->peer.out;
    const struct head *head = client_head(client);
    struct text host = {client->authority, client->authority_length};
    int n = authority_check(host);

    record_status(client, 308, "tls_redirect");
    client->keep_alive = client->keep_alive && !client->has_body;
    int r = head && n > 0 ? buffer_hold(&client->worker->buffers, out) : -1;
    r = r < 0 ? r
              : buffer_print(out,
                             "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://%.*s%s%.*s\r\n"
                             "Content-Length: 0\r\nConnection: %s\r\n\r\n",
                             n, client->authority, client->worker->proxy->tls_port,
                             (int)client_target(head).length, client_target(head).data,
                             client->keep_alive ? "keep-alive" : "close");
    if (r < 0)
        client_close(client);
    else
        client_replied(client);
}

static json_t *split_lines(const char *lines)
{
    json_t *array = json_array();

    while (array && *lines) {
        size_t n = strcspn(lines, "\n");
        json_t *line = json_stringn(lines, n);
        if (line)
            json_array_append_new(array, line);
        lines += n + (lines[n] == '\n');
    }
    return array;
}

static bool listens(const struct detail *detail, uint16_t port)
{
    for (size_t i = 0; i < detail->n_ports; i++)
        if (detail->ports[i] == port)
            return true;
    return false;
}

/* As seen from the one port that this URL is for. */
static const char *state_name(const struct client *client, const struct view *view,
                              const struct detail *detail)
{
    static const char *const services[] = {[SERVICE_STOPPED] = "not_listening",
                                           [SERVICE_STARTING] = "starting",
                                           [SERVICE_READY] = "ready",
                                           [SERVICE_CRASHED] = "crashed"};
    uint16_t port = client->target.port;

    if (view->state == ROUTE_UNKNOWN)
        return "unknown";
    if (view->state == ROUTE_STOPPED)
        return "sandbox_stopped";
    if (view->state == ROUTE_PAUSED)
        return "sandbox_paused";
    if (view->state != ROUTE_RUNNING && view->state != ROUTE_ASLEEP)
        return "starting";
    if (port > 0 && port != view->port)
        return listens(detail, port) ? "ready" : "not_listening";
    if (view->service == SERVICE_CRASHED && view->auto_restart)
        return "starting";
    return services[view->service];
}

void reply_status(struct client *client)
{
    struct sandbox *sandbox = client->site->sandbox;
    struct view view = sandbox_view(sandbox);

    record_status(client, 200, "status");
    pthread_mutex_lock(&sandbox->lock);
    cleanup_json json_t *value =
        json_pack("{s:s, s:s, s:o}", "state", state_name(client, &view, &sandbox->detail), "cause",
                  sandbox->detail.cause, "last_lines", split_lines(sandbox->detail.lines));
    pthread_mutex_unlock(&sandbox->lock);
    cleanup_free char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    bool keep = client->keep_alive && !client->has_body;
    int r = text ? buffer_hold(&client->worker->buffers, &client->peer.out) : -1;
    r = r < 0 ? r : page_write_document(&client->peer.out, 200, text, client->is_head, keep);
    if (r < 0)
        client_close(client);
    else
        client_replied(client);
}
