/* Theory of operation: see client.h. client_run is called for every event and loops as long as the
 * state changes, so a pipelined request starts without another wait. */
#include "proxy/client.h"

#include "proxy/quota.h"
#include "proxy/record.h"

#include "proxy/bridge.h"
#include "proxy/forwarded.h"
#include "proxy/h2.h"
#include "proxy/tls-transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct client *allocate(struct worker *worker)
{
    struct client *client = worker->free_clients;

    if (!client)
        return calloc(1, sizeof(*client));
    worker->free_clients = client->next;
    worker->n_free_clients--;
    memset(client, 0, sizeof(*client));
    return client;
}

void client_count(struct worker *worker, int change)
{
    atomic_fetch_add(&worker->n_clients, (unsigned int)change);
    atomic_fetch_add(&worker->proxy->n_clients, (unsigned int)change);
}

static void link_client(struct client *client, struct worker *worker, const char *address)
{
    client->worker = worker;
    client->trusted = networks_hold(&worker->proxy->trusted, address);
    snprintf(client->address, sizeof(client->address), "%s", address);
    client->next = worker->clients;
    if (worker->clients)
        worker->clients->previous = client;
    worker->clients = client;
    timer_arm(&worker->timers, &client->peer.timer, TIMER_HEAD);
}

struct client *client_new(struct worker *worker, const struct given *given)
{
    struct client *client = allocate(worker);
    int one = 1;

    if (!client) {
        client_count(worker, -1);
        close(given->fd);
        return NULL;
    }
    client->peer = (struct peer){
        .kind = PEER_CLIENT, .fd = given->fd, .transport = &transport_plain, .writable = true};
    client->state = given->tls ? CLIENT_HANDSHAKE : CLIENT_HEAD;
    client->tls = given->tls;
    link_client(client, worker, given->address);
    setsockopt(given->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if ((given->tls && tls_transport_start(&client->peer, &worker->proxy->tls) < 0) ||
        peer_watch(&client->peer, worker->epoll) < 0) {
        client_close(client);
        return NULL;
    }
    return client;
}

struct client *client_new_stream(struct client *carrier, struct h2_stream *stream)
{
    struct worker *worker = carrier->worker;
    struct client *client = proxy_has_room(worker->proxy) ? allocate(worker) : NULL;

    if (!client)
        return NULL;
    client_count(worker, 1);
    client->peer = (struct peer){.kind = PEER_CLIENT,
                                 .fd = -1,
                                 .transport = &transport_stream,
                                 .layer = stream,
                                 .readable = true,
                                 .writable = true};
    client->state = CLIENT_HEAD;
    client->tls = carrier->tls;
    link_client(client, worker, carrier->address);
    worker_again(worker, client);
    return client;
}

void client_release(struct client *client)
{
    flow_end(&client->worker->pipes, &client->up);
    flow_end(&client->worker->pipes, &client->down);
    if (client->upstream)
        upstream_close(client->upstream);
    client->upstream = NULL;
    dispatch_unpark(client);
    quota_charge(client);
    quota_leave(client);
    if (client->site)
        site_put(client->worker, client->site);
    client->site = NULL;
}

static void unlink_client(struct client *client)
{
    struct worker *worker = client->worker;

    if (client->previous)
        client->previous->next = client->next;
    else
        worker->clients = client->next;
    if (client->next)
        client->next->previous = client->previous;
    client_count(worker, -1);
}

void client_close(struct client *client)
{
    struct worker *worker = client->worker;

    if (client->state == CLIENT_DEAD)
        return;
    client->state = CLIENT_DEAD;
    record_end(client);
    client_release(client);
    h2_free(client);
    peer_close(&worker->buffers, &client->peer);
    unlink_client(client);
    if (worker->head_owner == client)
        worker->head_owner = NULL;
    client->next = worker->dead_clients;
    worker->dead_clients = client;
    worker_listen(worker);
}

void client_drain(struct client *client)
{
    if (client->state == CLIENT_H2)
        h2_drain(client);
    else if (client->state == CLIENT_HEAD && client->peer.in.length == 0 && client->peer.fd >= 0)
        client_close(client);
}

const struct head *client_head(struct client *client)
{
    struct worker *worker = client->worker;
    struct head_error error;

    if (worker->head_owner != client) {
        struct text text = {buffer_head(&client->peer.in), client->head_length};
        worker->head_owner = NULL;
        if (head_parse_request(text, &worker->head, &error) < 0)
            return NULL;
        worker->head_owner = client;
    }
    return &worker->head;
}

/* Skips scheme and authority of an absolute-form target. */
static struct text path_of(struct text target)
{
    if (target.data[0] == '/' || text_is(target, TEXT("*")))
        return target;
    const char *authority = (const char *)memmem(target.data, target.length, "://", 3) + 3;
    size_t skipped = (size_t)(authority - target.data);
    while (skipped < target.length && !strchr("/?", target.data[skipped]))
        skipped++;
    return (struct text){target.data + skipped, target.length - skipped};
}

struct text client_path(const struct client *client, const struct head *head)
{
    struct text path = path_of(head->target);

    path.data += client->target.path_prefix;
    path.length -= client->target.path_prefix;
    return path.length > 0 ? path : TEXT("/");
}

struct text client_target(const struct head *head)
{
    return path_of(head->target);
}

int64_t client_hsts(const struct client *client)
{
    return client->tls ? client->worker->proxy->config.tls_hsts_s : 0;
}

/* By which name and scheme the browser calls us, as far as is known. */
static void name_client(struct client *client, const struct head *head, struct text authority)
{
    struct forwarded forwarded = {.secure = false};

    if (client->trusted)
        forwarded_read(head, &forwarded);
    client->secure = client->tls || forwarded.secure;
    client->authority_length = (uint16_t)forwarded_authority(
        &forwarded, authority, client->worker->proxy->domain, client->authority);
}

/* Our own bound on the target's forms; sets the authority, which an absolute target overrules. */
static int take_authority(struct client *client, const struct head *head)
{
    struct text authority = head->host, target = head->target;

    if (target.data[0] != '/' && !text_is(target, TEXT("*"))) {
        bool plain =
            target.length > 7 && text_is_case((struct text){target.data, 7}, TEXT("http://"));
        bool tls =
            target.length > 8 && text_is_case((struct text){target.data, 8}, TEXT("https://"));
        struct text path = path_of(plain || tls ? target : TEXT("/"));
        size_t scheme = plain ? 7 : 8;
        if ((!plain && !tls) || (path.length > 0 && path.data[0] != '/'))
            return -EPROTO;
        authority = (struct text){target.data + scheme, (size_t)(path.data - target.data) - scheme};
        if (authority_check(authority) < 0)
            return -EPROTO;
    } else if (target.data[0] == '*' && !text_is(head->method, TEXT("OPTIONS"))) {
        return -EPROTO;
    }
    name_client(client, head, authority);
    return 0;
}

static bool is_idempotent(struct text method)
{
    static const struct text methods[] = {TEXT("GET"), TEXT("HEAD"), TEXT("OPTIONS"), TEXT("PUT"),
                                          TEXT("DELETE")};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (text_is(method, methods[i]))
            return true;
    return false;
}

/* A person's browser that wants a page: it can be shown one of ours. */
static bool is_navigation(const struct head *head)
{
    struct text accept = head_get(head, NAME_ACCEPT), mode = head_get(head, NAME_FETCH_MODE);

    return text_is(head->method, TEXT("GET")) && !head->upgrade && accept.length > 0 &&
           memmem(accept.data, accept.length, "text/html", 9) &&
           (mode.length == 0 || text_is_case(mode, TEXT("navigate")));
}

static void begin_request(struct client *client, const struct head *head)
{
    client->is_head = text_is(head->method, TEXT("HEAD"));
    client->navigation = is_navigation(head);
    client->document = client->worker->proxy->bridges && bridge_is_document(head);
    client->has_body = head->body == BODY_CHUNKED || head->content_length > 0;
    client->wants_upgrade = head_upgrades(head);
    client->idempotent = is_idempotent(head->method);
    client->old = head->minor == 0;
    client->keep_alive = head->keep_alive && !atomic_load(&client->worker->proxy->draining);
    client->head_kept = true;
    client->other_tried = client->answered = false;
    client->interim = client->retries = 0;
    client->waiting_since = client->refused_since = client->token_expires = 0;
    client->target = (struct target){.port = 0};
    client->port = 0;
    record_begin(client, head);
    flow_start(&client->up,
               head->body == BODY_CHUNKED  ? FLOW_CHUNKED
               : head->body == BODY_LENGTH ? FLOW_LENGTH
                                           : FLOW_NONE,
               head->content_length, head->body == BODY_CHUNKED);
}

static void refuse_head(struct client *client, const struct head_error *error)
{
    client->keep_alive = false;
    client->head_kept = false;
    client->is_head = client->navigation = false;
    client->target = (struct target){.port = 0};
    client->port = 0;
    record_begin(client, NULL);
    buffer_drop(&client->worker->buffers, &client->peer.in);
    reply_error(client, error->status, error->code, error->message);
}

static void skip_empty_lines(struct buffer *in)
{
    while (in->length >= 2 && memcmp(buffer_head(in), "\r\n", 2) == 0)
        buffer_take(in, 2);
}

static void take_head(struct client *client)
{
    struct worker *worker = client->worker;
    struct head_error error = {400, "bad_request", "The request target is malformed."};

    worker->head_owner = NULL;
    struct text text = {buffer_head(&client->peer.in), client->head_length};
    int r = head_parse_request(text, &worker->head, &error);
    if (r == 0)
        r = take_authority(client, &worker->head);
    if (r < 0) {
        refuse_head(client, &error);
        return;
    }
    worker->head_owner = client;
    timer_cancel(&client->peer.timer);
    begin_request(client, &worker->head);
    dispatch_request(client);
}

/* Whether a whole head is there (or can never be). */
static int find_head(struct client *client)
{
    struct buffer *in = &client->peer.in;

    if (client->head_seen == 0)
        skip_empty_lines(in);
    if (in->length == 0)
        return 0;
    int n = head_length(buffer_head(in), in->length, client->head_seen);
    client->head_seen = in->length;
    return n;
}

static const struct head_error *too_large(const struct client *client)
{
    static const struct head_error target = {414, "target_too_long",
                                             "The request target is too long."};
    static const struct head_error head = {431, "header_too_large",
                                           "The request header is over 64 KiB."};
    const struct buffer *in = &client->peer.in;

    size_t line = in->length < TARGET_MAX ? in->length : TARGET_MAX;

    return memchr(buffer_head(in), '\n', line) ? &head : &target;
}

static void run_head(struct client *client)
{
    struct worker *worker = client->worker;
    struct peer *peer = &client->peer;
    int n = find_head(client);

    while (n == 0) {
        size_t before = peer->in.length;
        if (peer_fill(&worker->buffers, peer) < 0 || peer->eof || peer->failed) {
            client_close(client);
            return;
        }
        if (peer->in.length == before)
            break;
        n = find_head(client);
    }
    if (n == 0) {
        enum timer_class class = peer->in.length > 0 ? TIMER_HEAD : TIMER_IDLE;
        if (!peer->timer.next || (class == TIMER_HEAD && peer->timer.class != TIMER_HEAD))
            timer_arm(&worker->timers, &peer->timer, class);
        buffer_trim(&worker->buffers, &peer->in);
        return;
    }
    client->head_length = n > 0 ? (uint32_t)n : 0;
    client->head_seen = 0;
    if (n < 0)
        refuse_head(client, too_large(client));
    else
        take_head(client);
}

void client_finish(struct client *client)
{
    struct worker *worker = client->worker;

    record_reason(client, RECORD_DONE);
    record_end(client);
    client_release(client);
    if (client->keep_alive && !atomic_load(&worker->proxy->draining)) {
        client->state = CLIENT_HEAD;
        timer_cancel(&client->peer.timer);
        return;
    }
    client->state = CLIENT_LINGER;
    client->lingered = 0;
    peer_shut(&client->peer);
    timer_arm(&worker->timers, &client->peer.timer, TIMER_LINGER);
}

void client_replied(struct client *client)
{
    if (client->has_body)
        client->keep_alive = false;
    if (client->head_kept)
        buffer_take(&client->peer.in, client->head_length);
    client->head_kept = false;
    if (client->worker->head_owner == client)
        client->worker->head_owner = NULL;
    client_release(client);
    client->state = CLIENT_REPLY;
    timer_arm(&client->worker->timers, &client->peer.timer, TIMER_STALLED);
}

static void run_reply(struct client *client)
{
    while (client->peer.out.length > 0 && client->peer.writable)
        if (peer_send(&client->peer, NULL, 0) < 0) {
            client_close(client);
            return;
        }
    if (client->peer.out.length == 0)
        client_finish(client);
}

/* Reads away what still comes, so that the client's bytes do not turn our answer into a reset. */
static void run_linger(struct client *client)
{
    struct worker *worker = client->worker;

    for (unsigned int i = 0; client->peer.readable && !client->peer.eof; i++) {
        if (peer_fill(&worker->buffers, &client->peer) < 0)
            break;
        client->lingered += client->peer.in.length;
        if (client->lingered > LINGER_BYTES)
            break;
        buffer_take(&client->peer.in, client->peer.in.length);
        if (i == RUN_ROUNDS) {
            worker_again(worker, client);
            return;
        }
    }
    buffer_trim(&worker->buffers, &client->peer.in);
    if (client->peer.eof || client->peer.failed || client->lingered > LINGER_BYTES)
        client_close(client);
}

static void run_handshake(struct client *client)
{
    struct peer *peer = &client->peer;
    int r = peer->failed ? -ECONNRESET : tls_transport_handshake(peer);

    if (r == -EAGAIN)
        return;
    if (r < 0) {
        client_close(client);
        return;
    }
    peer->readable = peer->writable = true; /* the socket is known to the session alone so far */
    timer_cancel(&peer->timer);
    if (tls_transport_speaks_h2(peer))
        h2_start(client);
    else
        client->state = CLIENT_HEAD;
}

void client_run(struct client *client)
{
    static void (*const handlers[])(struct client * client) = {
        [CLIENT_HANDSHAKE] = run_handshake,
        [CLIENT_H2] = h2_run,
        [CLIENT_HEAD] = run_head,
        [CLIENT_PARKED] = dispatch_parked,
        [CLIENT_CONNECT] = dispatch_connecting,
        [CLIENT_EXCHANGE] = exchange_run,
        [CLIENT_TUNNEL] = tunnel_run,
        [CLIENT_REPORT] = bridge_run,
        [CLIENT_REPLY] = run_reply,
        [CLIENT_LINGER] = run_linger,
    };
    unsigned int rounds = 0;
    uint8_t state;

    do {
        state = client->state;
        if (state == CLIENT_DEAD)
            return;
        if (++rounds > RUN_ROUNDS) {
            worker_again(client->worker, client);
            break;
        }
        handlers[state](client);
    } while (client->state != state);
    if (client->state != CLIENT_DEAD)
        buffer_trim(&client->worker->buffers, &client->peer.out);
}

void client_timeout(struct client *client, enum timer_class class)
{
    record_timeout(client, class);
    if (class == TIMER_UPSTREAM) {
        reply_error(client, 504, "upstream_timeout", "The dev server did not answer in time.");
        client_run(client);
        return;
    }
    static const struct head_error slow = {408, "request_timeout",
                                           "The request header took too long."};

    if (client->state == CLIENT_H2) {
        h2_timeout(client);
    } else if (class == TIMER_HEAD && client->peer.in.length > 0) {
        refuse_head(client, &slow);
        record_timeout(client, class);
        client_run(client);
    } else if (client->state == CLIENT_PARKED || client->state == CLIENT_CONNECT) {
        dispatch_timeout(client, class);
        client_run(client);
    } else {
        client_close(client);
    }
}
