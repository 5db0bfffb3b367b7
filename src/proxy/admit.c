/* Theory of operation: a request is let in once, with what its token says noted at the client; what
 * it has opened lives no longer than that. The control thread writes who may open a sandbox and its
 * epoch into one word (route.h) and tells the threads, which then go through their clients if the
 * word is another than when they last did; so nothing is looked for while requests are served.
 *
 * A token in the query of a page is taken out of sight at once: the answer is a redirect to the
 * same place without it, and a cookie. Browsers send preflights without credentials, so those
 * between ports of one sandbox are answered here; no dev server is asked by whoever showed no
 * token. */
#include "proxy/admit.h"

#include "base/str.h"
#include "proxy/access.h"
#include "proxy/count.h"
#include "proxy/page.h"
#include "proxy/record.h"
#include "proxy/set-cookie.h"

#include <string.h>

#define WAIT_MAX_MS     60000 /* the clock may be set meanwhile */
#define PREFLIGHT_MAX_S 600

static int64_t now_s(void)
{
    return now_realtime_ms() / 1000;
}

static void show_refusal(struct client *client, enum access_verdict verdict)
{
    static const struct page pages[] = {
        [ACCESS_MISSING] = {.status = 401,
                            .code = "token_missing",
                            .title = "This preview is private",
                            .message = "Open it with the link that its owner shares."},
        [ACCESS_REFUSED] = {.status = 403,
                            .code = "token_refused",
                            .title = "This preview is private",
                            .message = "The link that was used is wrong, has expired or was "
                                       "revoked. Ask its owner for a new one."},
    };

    reply_page(client, &pages[verdict]);
}

/* Ends the head that was begun in `out`, without a body. */
static void finish_reply(struct client *client, int r)
{
    if (r == 0 && client_hsts(client) > 0)
        r = buffer_print(&client->peer.out, "Strict-Transport-Security: max-age=%lld\r\n",
                         (long long)client_hsts(client));
    r = r < 0 ? r
              : buffer_print(&client->peer.out, "Connection: %s\r\n\r\n",
                             client->keep_alive ? "keep-alive" : "close");
    if (r < 0)
        client_close(client);
    else
        client_replied(client);
}

/* ---- a token in the query of a page
 * ------------------------------------------------------------------------ */

static int add_cookie(struct client *client, struct text token, int64_t expires_at)
{
    struct exchange_names names;

    client_names(client, &names);
    const char *scope =
        set_cookie_may_secure(&names) ? "SameSite=None; Secure; Partitioned" : "SameSite=Lax";
    return buffer_print(&client->peer.out,
                        "Set-Cookie: %s%s%s=%.*s; Path=/; Max-Age=%lld; HttpOnly; %s\r\n",
                        client->secure ? "__Host-" : "", PREVIEW_TOKEN_COOKIE, client->target.id,
                        (int)token.length, token.data, (long long)(expires_at - now_s()), scope);
}

/* The target begins with a slash. What begins with two, or with a backslash behind it, would lead
 * to another host. */
static int add_location(struct buffer *out, struct text target)
{
    bool leads_away = target.length > 1 && (target.data[1] == '/' || target.data[1] == '\\');
    int r = buffer_literal(out, "Location: ");

    r = r < 0 || !leads_away ? r : buffer_literal(out, "/.");
    r = r < 0 ? r : access_add_path(out, target);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

static void redirect(struct client *client, struct text target, const struct access_result *result)
{
    struct buffer *out = &client->peer.out;

    client->keep_alive = client->keep_alive && !client->has_body;
    count_answer(client, 302);
    record_status(client, 302, "token_redirect");
    int r = buffer_hold(&client->worker->buffers, out);
    r = r < 0 ? r
              : buffer_literal(out, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
                                    "Cache-Control: no-store\r\n"
                                    "Referrer-Policy: no-referrer\r\n");
    r = r < 0 ? r : add_location(out, target);
    if (r == 0 && result->query.length > 0)
        r = add_cookie(client, result->query, result->expires_at);
    finish_reply(client, r);
}

static bool is_page(const struct client *client, const struct head *head)
{
    return (client->is_head || text_is(head->method, TEXT("GET"))) && !head->upgrade;
}

/* ---- preflights
 * -------------------------------------------------------------------------------------------- */

/* From another port of the same sandbox, by the same scheme. The path form has one origin for all,
 * so nothing of it is asked for from another one. */
static bool is_sibling(const struct client *client, struct text value)
{
    struct exchange_names names;

    client_names(client, &names);
    struct origin origin = origin_of(value, &names);
    return (origin.kind == ORIGIN_BARE || origin.kind == ORIGIN_PORT) &&
           origin.secure == client->secure;
}

static bool is_preflight(const struct client *client, const struct head *head)
{
    return text_is(head->method, TEXT("OPTIONS")) &&
           head_is_token(head_get(head, NAME_REQUEST_METHOD)) &&
           is_sibling(client, head_get(head, NAME_ORIGIN));
}

/* What the dev server lets the other port do, its answer to the request itself says. */
static void answer_preflight(struct client *client, const struct head *head)
{
    struct text origin = head_get(head, NAME_ORIGIN), method = head_get(head, NAME_REQUEST_METHOD);
    struct text fields = head_get(head, NAME_REQUEST_HEADERS);
    struct buffer *out = &client->peer.out;

    client->keep_alive = client->keep_alive && !client->has_body;
    count_answer(client, 204);
    record_status(client, 204, "preflight");
    int r = buffer_hold(&client->worker->buffers, out);
    r = r < 0 ? r
              : buffer_print(out,
                             "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: %.*s\r\n"
                             "Access-Control-Allow-Credentials: true\r\n"
                             "Access-Control-Allow-Methods: %.*s\r\n"
                             "Access-Control-Max-Age: %d\r\n"
                             "Vary: Origin, Access-Control-Request-Method, "
                             "Access-Control-Request-Headers\r\n",
                             (int)origin.length, origin.data, (int)method.length, method.data,
                             PREFLIGHT_MAX_S);
    if (r == 0 && fields.length > 0)
        r = buffer_print(out, "Access-Control-Allow-Headers: %.*s\r\n", (int)fields.length,
                         fields.data);
    finish_reply(client, r);
}

/* ---- the check
 * --------------------------------------------------------------------------------------------- */

static void note(struct client *client, uint32_t epoch, int64_t expires_at)
{
    struct worker *worker = client->worker;

    client->token_epoch = epoch;
    client->token_expires = expires_at;
    if (worker->token_expires == 0 || expires_at < worker->token_expires)
        worker->token_expires = expires_at;
}

static bool decide(struct client *client, const struct head *head, const struct access *access)
{
    const struct preview_claims claims = {client->target.id, access->epoch, now_s()};
    struct access_result result;

    access_check(&client->worker->proxy->preview_key, head, &claims, client->secure, &result);
    if (result.verdict == ACCESS_GRANTED)
        note(client, access->epoch, result.expires_at);
    else if (access->is_private && is_preflight(client, head))
        return answer_preflight(client, head), false;
    else if (access->is_private)
        return show_refusal(client, result.verdict), false;
    struct text target = client_target(head);
    if (!access_in_query(target) || !is_page(client, head))
        return true;
    redirect(client, target, &result);
    return false;
}

bool admit(struct client *client)
{
    struct access access = sandbox_access(client->site->sandbox);
    const struct head *head = client_head(client);

    client->token_expires = 0;
    if (!head) {
        client_close(client);
        return false;
    }
    if (!access.is_private && !access_in_query(head->target))
        return true;
    return decide(client, head, &access);
}

/* ---- what was let in
 * --------------------------------------------------------------------------------------- */

/* A parked request is checked again when it goes on. */
static bool must_go(const struct client *client, int64_t now)
{
    if (!client->site || client->state == CLIENT_PARKED)
        return false;
    struct access access = sandbox_access(client->site->sandbox);
    return access.is_private &&
           (client->token_expires <= now || client->token_epoch != access.epoch);
}

/* Who still waits for an answer is told; what has begun to arrive can only be cut. */
static void end(struct client *client)
{
    bool waits = client->state == CLIENT_CONNECT || client->state == CLIENT_EXCHANGE;

    record_reason(client, RECORD_ACCESS_ENDED);
    if (!waits || client->answered) {
        client_close(client);
        return;
    }
    show_refusal(client, client->token_expires > 0 ? ACCESS_REFUSED : ACCESS_MISSING);
    client_run(client);
}

void admit_review(struct worker *worker, struct site *site)
{
    uint64_t word = sandbox_access_word(site->sandbox);
    int64_t now = now_s();

    if (word == site->access_word)
        return;
    site->access_word = word;
    for (struct client *client = worker->clients, *next; client; client = next) {
        next = client->next;
        if (client->site == site && must_go(client, now))
            end(client);
    }
}

void admit_expire(struct worker *worker)
{
    int64_t now = worker->token_expires > 0 ? now_s() : 0, first = 0;

    if (now < worker->token_expires || now == 0)
        return;
    for (struct client *client = worker->clients, *next; client; client = next) {
        next = client->next;
        if (must_go(client, now))
            end(client);
        else if (client->site && client->token_expires > now &&
                 (first == 0 || client->token_expires < first))
            first = client->token_expires;
    }
    worker->token_expires = first;
}

int admit_wait_ms(const struct worker *worker)
{
    if (worker->token_expires == 0)
        return -1;
    int64_t left = worker->token_expires * 1000 - now_realtime_ms();
    return left <= 0 ? 0 : left > WAIT_MAX_MS ? WAIT_MAX_MS : (int)left;
}
