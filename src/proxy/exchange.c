/* Theory of operation: an exchange is two flows, request up and response down, that run whenever
 * either side has an event. The dev server is not trusted: its heads are read as strictly as a
 * client's. Whatever goes wrong before the first byte of a response is answered; later, the
 * client's connection is cut, so that it can tell that the response is incomplete. */
#include "proxy/client.h"

#include "proxy/bridge.h"
#include "proxy/count.h"
#include "proxy/quota.h"
#include "proxy/record.h"

#include "proxy/forwarded.h"

#include <errno.h>
#include <string.h>

void client_names(const struct client *client, struct exchange_names *ret_names)
{
    struct view view = sandbox_view(client->site->sandbox);

    *ret_names = (struct exchange_names){
        .authority = {client->authority, client->authority_length},
        .domain = client->worker->proxy->domain,
        .target = &client->target,
        .secure = client->secure,
        .port = client->port,
        .service_port = view.port,
        .keeps_prefix = view.path_form && view.port == client->port && client->target.path_prefix,
        .client = client->address,
        .origin = client->origin,
        .hsts_s = client_hsts(client),
        .frame_origins = client->worker->proxy->frame_origins,
        .document = client->document,
    };
}

/* What only the request's head tells. */
static void take_names(struct client *client, const struct head *head, struct exchange_names *names)
{
    struct forwarded forwarded;

    client->origin = origin_of(head_get(head, NAME_ORIGIN), names);
    if (!client->trusted)
        return;
    forwarded_read(head, &forwarded);
    names->forwarded_for = forwarded.addresses;
}

/* The head stays in `in` as long as the request may have to be sent again, which one with a body
 * never is. */
static void drop_head(struct client *client)
{
    if (!client->head_kept)
        return;
    buffer_take(&client->peer.in, client->head_length);
    client->head_kept = false;
    if (client->worker->head_owner == client)
        client->worker->head_owner = NULL;
}

void exchange_start(struct client *client)
{
    struct upstream *upstream = client->upstream;
    const struct head *head = client_head(client);
    struct exchange_names names;

    dispatch_unpark(client);
    client_names(client, &names);
    if (head)
        take_names(client, head, &names);
    int r = head ? buffer_hold(&client->worker->buffers, &upstream->peer.out) : -EPROTO;
    if (r == 0) {
        struct text path = names.keeps_prefix ? client_target(head) : client_path(client, head);
        r = rewrite_request(&upstream->peer.out, head, path, &names);
    }
    if (r < 0) {
        reply_error(client, 431, "header_too_large", "The request header is too large.");
        return;
    }
    if (!client->up.done)
        drop_head(client);
    flow_start(&client->down, FLOW_NONE, 0, false);
    client->state = CLIENT_EXCHANGE;
    count_sent(client);
    timer_cancel(&client->peer.timer);
}

static void upstream_lost(struct client *client, bool unsent)
{
    struct upstream *upstream = client->upstream;
    bool silent = upstream->peer.in.length == 0 && client->interim == 0;

    if (client->answered) {
        client_close(client);
        return;
    }
    if (client->head_kept && silent && client->retries < RETRIES_MAX &&
        (client->idempotent || (upstream->reused && unsent))) {
        bool fresh = !upstream->reused;
        upstream_close(upstream);
        client->upstream = NULL;
        dispatch_again(client, fresh);
        return;
    }
    record_reason(client, RECORD_UPSTREAM_LOST);
    reply_error(client, 502, "bad_response",
                "The dev server closed the connection without an answer.");
}

static void bad_response(struct client *client)
{
    client->keep_alive = client->keep_alive && client->up.done;
    reply_error(client, 502, "bad_response", "The dev server's answer is not valid HTTP.");
}

static bool has_no_body(const struct client *client, const struct head *head)
{
    return client->is_head || head->status == 204 || head->status == 304;
}

/* How the body comes and how it goes on. */
static void plan_response(struct client *client, const struct head *head,
                          struct response_form *ret_form)
{
    enum flow_kind kind = has_no_body(client, head)    ? FLOW_NONE
                          : head->body == BODY_CHUNKED ? FLOW_CHUNKED
                          : head->body == BODY_LENGTH  ? FLOW_LENGTH
                                                       : FLOW_TO_EOF;
    bool unknown = kind == FLOW_CHUNKED || kind == FLOW_TO_EOF;

    if ((unknown && client->old) || !client->up.done ||
        atomic_load(&client->worker->proxy->draining))
        client->keep_alive = false;
    *ret_form = (struct response_form){.chunk = unknown && !client->old,
                                       .length = head->body == BODY_LENGTH && head->status != 204,
                                       .keep_alive = client->keep_alive,
                                       .announce = client->old};
    client->upstream_keeps = head->keep_alive && head->minor == 1 && kind != FLOW_TO_EOF;
    flow_start(&client->down, kind, head->content_length, ret_form->chunk);
}

static int plan_interim(struct client *client, const struct head *head,
                        struct response_form *ret_form)
{
    *ret_form = (struct response_form){.keep_alive = true, .upgrade = head->status == 101};
    if (head->body != BODY_NONE || ++client->interim > INTERIM_MAX)
        return -EPROTO;
    return head->status == 101 && !(client->wants_upgrade && head->upgrade) ? -EPROTO : 0;
}

static void begin_tunnel(struct client *client)
{
    drop_head(client);
    client->answered = true;
    flow_start(&client->up, FLOW_TO_EOF, 0, false);
    flow_start(&client->down, FLOW_TO_EOF, 0, false);
    client->state = CLIENT_TUNNEL;
    record_tunnel(client);
}

/* With the bridge, if there is room for what it adds to the head. */
static int write_response_head(struct client *client, const struct head *head,
                               struct response_form *form, bool with_bridge)
{
    struct buffer *out = &client->peer.out;
    struct flow *down = &client->down;
    struct exchange_names names;
    struct bridge bridge;

    client_names(client, &names);
    int r = buffer_hold(&client->worker->buffers, out);
    if (r < 0)
        return r;
    uint32_t before = out->length;
    if (with_bridge && (down->insertion = bridge_insert(client, &names, &bridge))) {
        names.bridge = &bridge;
        form->added = down->insertion->tag_length;
        if (rewrite_response(out, head, form, &names) == 0)
            return 0;
        out->length = before;
        flow_end(&client->worker->pipes, down);
        names.bridge = NULL;
        form->added = 0;
    }
    return rewrite_response(out, head, form, &names);
}

/* A whole head of the dev server's is at the front of its `in`. -EAGAIN: more of what follows it is
 * needed. */
static int take_response_head(struct client *client, size_t length)
{
    struct worker *worker = client->worker;
    struct upstream *upstream = client->upstream;
    struct buffer *in = &upstream->peer.in;
    struct head *head = &worker->response;
    struct text text = {buffer_head(in), length};
    struct response_form form;
    struct head_error error;

    if (head_parse_response(text, head, &error) < 0)
        return -EPROTO;
    bool interim = head->status < 200;
    if (interim && plan_interim(client, head, &form) < 0)
        return -EPROTO;
    struct text body = {text.data + length, in->length - length};
    int bridge = interim || has_no_body(client, head) ? 0 : bridge_fits(client, head, body);
    if (bridge < 0)
        return bridge;
    if (!interim)
        plan_response(client, head, &form);
    if (!interim || !client->old) {
        int r = write_response_head(client, head, &form, bridge > 0);
        if (r < 0)
            return r;
    }
    buffer_take(&upstream->peer.in, length);
    if (head->status == 101)
        begin_tunnel(client);
    else if (!interim)
        client->answered = true;
    if (client->answered) {
        count_head(client);
        count_answer(client, head->status);
        record_head(client);
        record_status(client, head->status, NULL);
    }
    return 0;
}

/* Reads heads until the final one. 0 or a negative errno; -EAGAIN: not there yet. */
static int read_response_head(struct client *client)
{
    struct worker *worker = client->worker;
    struct peer *peer = &client->upstream->peer;

    while (!client->answered) {
        struct buffer *in = &peer->in;
        int n = in->length > 0 ? head_length(buffer_head(in), in->length, 0) : 0;
        if (n < 0)
            return -EPROTO;
        if (n > 0) {
            int r = take_response_head(client, (size_t)n);
            if (r == 0)
                continue;
            if (r != -EAGAIN)
                return r;
        }
        size_t before = in->length;
        if (peer_fill(&worker->buffers, peer) < 0)
            return -ECONNRESET;
        if (peer->eof)
            return in->length > 0 ? -EPROTO : -ECONNRESET;
        if (in->length == before)
            return -EAGAIN;
    }
    return 0;
}

/* Nothing may be left of a response that is complete. Whether something is, is asked only where it
 * is not known: behind a body that filled a buffer or went through a pipe. */
static bool is_quiet(struct client *client)
{
    struct peer *upstream = &client->upstream->peer;

    if (upstream->readable && upstream->in.length == 0)
        peer_fill(&client->worker->buffers, upstream);
    return upstream->in.length == 0 && !upstream->readable && !upstream->eof && !upstream->failed;
}

static void finish_exchange(struct client *client)
{
    struct upstream *upstream = client->upstream;
    struct view view = sandbox_view(client->site->sandbox);
    bool reusable = client->upstream_keeps && client->up.done && upstream->peer.out.length == 0 &&
                    is_quiet(client) && view.state == ROUTE_RUNNING &&
                    view.generation == upstream->generation;

    drop_head(client);
    if (!client->up.done)
        client->keep_alive = false;
    if (reusable) {
        client->upstream = NULL;
        upstream_make_idle(upstream);
    }
    client_finish(client);
}

/* A peer must not stall in the middle of a message; a dev server may think as long as it likes, or
 * as [proxy] upstream_timeout_ms says. From a client's FIN alone nobody can tell whether it has
 * gone or only said all it had to: one that waits for the head gets long, an event stream that
 * pauses does not, or each closed tab would hold a connection. */
static void arm_timer(struct client *client, bool moved)
{
    struct timers *timers = &client->worker->timers;
    struct timer *timer = &client->peer.timer;
    bool client_owes = !client->up.done || client->peer.out.length > 0 || client->down.pipe ||
                       (client->answered && client->upstream->peer.in.length > 0);

    if (client_owes) {
        if (moved || !timer->next)
            timer_arm(timers, timer, TIMER_STALLED);
    } else if (client->peer.eof || client->peer.hung_up) {
        enum timer_class class = client->answered ? TIMER_ABANDONED : TIMER_HALF_CLOSED;
        if (moved || !timer->next || timer->class != class)
            timer_arm(timers, timer, class);
    } else if (!client->answered && timers->duration[TIMER_UPSTREAM] > 0) {
        if (!timer->next || timer->class != TIMER_UPSTREAM)
            timer_arm(timers, timer, TIMER_UPSTREAM);
    } else {
        timer_cancel(timer);
    }
}

/* What has moved is charged for; while the sandbox has used up its bandwidth nothing moves. */
static bool must_pause(struct client *client)
{
    quota_charge(client);
    if (!quota_exhausted(client))
        return false;
    worker_pause(client->worker, client);
    return true;
}

static void trim(struct client *client)
{
    struct buffer_pool *pool = &client->worker->buffers;

    buffer_trim(pool, &client->peer.in);
    buffer_trim(pool, &client->peer.out);
    if (client->upstream) {
        buffer_trim(pool, &client->upstream->peer.in);
        buffer_trim(pool, &client->upstream->peer.out);
    }
}

static enum flow_result run_flow(struct client *client, struct flow *flow, struct peer *from,
                                 struct peer *to, bool *moved)
{
    struct worker *worker = client->worker;
    enum flow_result r =
        flow_run(&worker->buffers, &worker->pipes, flow, from, to, quota_rounds(client), moved);

    if (r == FLOW_AGAIN)
        worker_again(worker, client);
    return r;
}

/* The request's direction. False: the client is gone or the exchange has changed its state. */
static bool run_up(struct client *client, bool *moved)
{
    struct peer *upstream = &client->upstream->peer;
    enum flow_result r;

    if (upstream->failed && client->answered)
        client->up.done = true;
    r = run_flow(client, &client->up, &client->peer, upstream, moved);
    if (r == FLOW_SOURCE_LOST) {
        if (!client->answered && !client->peer.eof && !client->peer.failed) {
            client->keep_alive = false;
            reply_error(client, 400, "bad_request", "The request body is malformed.");
        } else {
            client_close(client);
        }
        return false;
    }
    if (r == FLOW_SINK_LOST) {
        /* It may have answered before it hung up: what there is to read is read first. */
        upstream->readable = true;
        upstream->out.length = upstream->out.start = 0;
        upstream->writable = false;
        if (!client->up.done)
            client->keep_alive = false;
    }
    return true;
}

static bool run_response_head(struct client *client)
{
    int r = read_response_head(client);

    if (r == -EAGAIN || client->state != CLIENT_EXCHANGE)
        return client->state == CLIENT_EXCHANGE;
    if (r == -ECONNRESET)
        upstream_lost(client, client->upstream->peer.failed);
    else if (r < 0)
        bad_response(client);
    return r == 0;
}

void exchange_run(struct client *client)
{
    bool moved = false;

    if (client->peer.failed) {
        client_close(client);
        return;
    }
    if (must_pause(client))
        return;
    if (!run_up(client, &moved) || (!client->answered && !run_response_head(client)))
        return;
    struct peer *upstream = &client->upstream->peer;
    if (!client->answered) {
        while (client->peer.out.length > 0 && client->peer.writable)
            if (peer_send(&client->peer, NULL, 0) < 0) {
                client_close(client);
                return;
            }
        arm_timer(client, moved);
        trim(client);
        return;
    }
    enum flow_result r = run_flow(client, &client->down, upstream, &client->peer, &moved);
    if (r == FLOW_SOURCE_LOST || r == FLOW_SINK_LOST) {
        record_reason(client, r == FLOW_SOURCE_LOST ? RECORD_UPSTREAM_LOST : RECORD_CLIENT_GONE);
        client_close(client);
        return;
    }
    if (client->down.done && client->peer.out.length == 0) {
        finish_exchange(client);
        return;
    }
    arm_timer(client, moved);
    trim(client);
}

/* One direction of a tunnel; passes the end on. */
static bool tunnel_flow(struct client *client, struct flow *flow, struct peer *from,
                        struct peer *to, bool *moved)
{
    enum flow_result r = run_flow(client, flow, from, to, moved);

    if (r == FLOW_SOURCE_LOST || r == FLOW_SINK_LOST)
        return false;
    if (flow->done && to->out.length == 0)
        peer_shut(to);
    return true;
}

void tunnel_run(struct client *client)
{
    struct worker *worker = client->worker;
    struct peer *near = &client->peer, *far = &client->upstream->peer;
    struct timer *timer = &near->timer;
    bool moved = false;

    if (!near->failed && !far->failed && must_pause(client))
        return;
    if (near->failed || far->failed || !tunnel_flow(client, &client->up, near, far, &moved) ||
        !tunnel_flow(client, &client->down, far, near, &moved) || (near->shut && far->shut)) {
        if (near->shut && far->shut)
            record_reason(client, RECORD_DONE);
        client_close(client);
        return;
    }
    enum timer_class class = near->shut || far->shut ? TIMER_HALF_CLOSED : TIMER_TUNNEL;
    if (moved || !timer->next || timer->class != class)
        timer_arm(&worker->timers, timer, class);
    trim(client);
}
