/* Theory of operation: see record.h. A record is the request's part of the line, spelled out
 * (record-line.h), and the figures that the end needs; both have a fixed bound. */
#include "proxy/record.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/access-log.h"
#include "proxy/forwarded.h"
#include "proxy/h2.h"
#include "proxy/record-line.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Bytes of each value at most, escapes included. */
#define HOST_MOST       (AUTHORITY_MAX + 8u)
#define CLIENT_MOST     64u
#define METHOD_MOST     32u
#define PATH_MOST       2048u
#define USER_AGENT_MOST 512u
#define REFERER_MOST    1024u
#define REQUEST_ID_MOST 128u

#define MEMBER(name, most) (sizeof(",\"" name "\":\"\"") + (most))
#define TEXT_MAX                                                                                   \
    (MEMBER("host", HOST_MOST) + MEMBER("client", CLIENT_MOST) + MEMBER("method", METHOD_MOST) +   \
     MEMBER("path", PATH_MOST) + MEMBER("user_agent", USER_AGENT_MOST) +                           \
     MEMBER("referer", REFERER_MOST) + MEMBER("request_id", REQUEST_ID_MOST))
#define REST_MAX     512u /* bytes of everything else in a line */
#define RECORDS_KEPT 256u

struct record {
    struct record *next;
    bool small; /* has no more memory than its text needs: is not kept for another */
    bool tls, has_head, reused;
    uint16_t status;
    const char *protocol, *code, *reason;
    uint64_t received, sent; /* of the connection, when it began */
    int64_t began_at;        /* ms since 1970 */
    uint64_t began_us, head_us;
    size_t length;
    char text[TEXT_MAX];
};

static uint64_t now_us(void)
{
    return (uint64_t)now_monotonic_ns() / 1000;
}

/* ---- memory
 * -------------------------------------------------------------------------------------------------
 */

static struct record *take(struct worker *worker)
{
    struct record *record = worker->free_records;

    if (!record)
        return malloc(sizeof(*record));
    worker->free_records = record->next;
    worker->n_free_records--;
    return record;
}

static void give_back(struct worker *worker, struct record *record)
{
    if (record->small || worker->n_free_records >= RECORDS_KEPT) {
        free(record);
        return;
    }
    record->next = worker->free_records;
    worker->free_records = record;
    worker->n_free_records++;
}

void records_free(struct worker *worker)
{
    while (worker->free_records) {
        struct record *next = worker->free_records->next;
        free(worker->free_records);
        worker->free_records = next;
    }
}

/* ---- the beginning
 * ------------------------------------------------------------------------------------------ */

static const struct text nothing = {NULL, 0};

/* Fields that the line has; without data where the request has none. */
struct fields {
    struct text user_agent, referer, request_id;
};

static void find_fields(const struct head *head, struct fields *fields)
{
    const struct {
        struct text name, *value;
    } wanted[] = {{TEXT("user-agent"), &fields->user_agent},
                  {TEXT("referer"), &fields->referer},
                  {TEXT("x-request-id"), &fields->request_id}};

    for (size_t i = 0; i < head->n_fields; i++)
        for (size_t w = 0; w < ELEMENTS(wanted); w++)
            if (head->fields[i].name.length == wanted[w].name.length && !wanted[w].value->data &&
                text_is_case(head->fields[i].name, wanted[w].name))
                *wanted[w].value = head->fields[i].value;
}

static struct text address_of(const struct client *client, const struct head *head)
{
    struct text told = head && client->trusted ? forwarded_client(forwarded_addresses(head),
                                                                  &client->worker->proxy->trusted)
                                               : nothing;

    return told.length > 0 ? told : (struct text){client->address, strlen(client->address)};
}

static void write_request(struct record_line *line, const struct client *client,
                          const struct head *head)
{
    struct text host = {client->authority, client->authority_length};
    struct fields fields = {nothing, nothing, nothing};

    if (head)
        find_fields(head, &fields);
    record_line_member(line, TEXT("host"), head ? host : nothing, HOST_MOST);
    record_line_member(line, TEXT("client"), address_of(client, head), CLIENT_MOST);
    record_line_member(line, TEXT("method"), head ? head->method : nothing, METHOD_MOST);
    record_line_member(line, TEXT("path"), head ? client_target(head) : nothing, PATH_MOST);
    record_line_member(line, TEXT("user_agent"), fields.user_agent, USER_AGENT_MOST);
    record_line_member(line, TEXT("referer"), fields.referer, REFERER_MOST);
    record_line_member(line, TEXT("request_id"), fields.request_id, REQUEST_ID_MOST);
}

static const char *protocol_of(const struct client *client, const struct head *head)
{
    if (client->peer.transport == &transport_stream)
        return "HTTP/2";
    return head && head->minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

void record_begin(struct client *client, const struct head *head)
{
    struct worker *worker = client->worker;
    const struct peer *peer = &client->peer;

    if (!worker->feed || client->record)
        return;
    struct record *record = take(worker);
    if (!record) {
        log_feed_lose(worker->feed);
        return;
    }
    memset(record, 0, offsetof(struct record, text));
    record->tls = client->tls;
    record->protocol = protocol_of(client, head);
    record->received = peer->received - peer->in.length;
    record->sent = peer->sent;
    record->began_at = now_realtime_ms();
    record->began_us = now_us();
    struct record_line line = {record->text, sizeof(record->text), 0};
    write_request(&line, client, head);
    record->length = line.length;
    client->record = record;
}

/* ---- what comes of it
 * --------------------------------------------------------------------------------------- */

void record_status(struct client *client, int status, const char *code)
{
    struct record *record = client->record;

    if (!record)
        return;
    record->status = (uint16_t)status;
    record->code = code;
}

void record_head(struct client *client)
{
    struct record *record = client->record;

    if (!record)
        return;
    record->has_head = true;
    record->head_us = now_us() - client->sent_us;
    record->reused = client->upstream->reused;
}

void record_tunnel(struct client *client)
{
    struct record *record = client->record;
    size_t size = record ? offsetof(struct record, text) + record->length : 0;
    struct record *small = record ? malloc(size) : NULL;

    if (!small)
        return;
    memcpy(small, record, size);
    small->small = true;
    give_back(client->worker, record);
    client->record = small;
}

void record_reason(struct client *client, const char *reason)
{
    if (client->record && !client->record->reason)
        client->record->reason = reason;
}

void record_timeout(struct client *client, enum timer_class class)
{
    static const char *const reasons[TIMER_CLASSES] = {
        [TIMER_HEAD] = "timeout_head",               /* [proxy] head_timeout_ms */
        [TIMER_CONNECT] = "timeout_connect",         /* the dev server accepts nothing */
        [TIMER_SUPERVISOR] = "timeout_supervisor",   /* the sandbox could not be reached */
        [TIMER_START] = "timeout_start",             /* [proxy] wait_ms */
        [TIMER_STALLED] = "timeout_stalled",         /* nothing moved in the middle of a message */
        [TIMER_UPSTREAM] = "timeout_upstream",       /* [proxy] upstream_timeout_ms */
        [TIMER_HALF_CLOSED] = "timeout_half_closed", /* one side has ended, the other goes on */
        [TIMER_ABANDONED] = RECORD_CLIENT_GONE,
        [TIMER_TUNNEL] = "timeout_tunnel", /* a silent WebSocket */
    };

    if (reasons[class])
        record_reason(client, reasons[class]);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------
 */

/* The second changes seldom, and taking a date apart takes long. */
static void add_time(struct record_line *line, int64_t ms)
{
    static _Thread_local char text[24];
    static _Thread_local time_t of = -1;
    time_t second = (time_t)(ms / 1000);
    unsigned int rest = (unsigned int)(ms % 1000);
    struct tm tm;

    if (second != of && gmtime_r(&second, &tm)) {
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.", &tm);
        of = second;
    }
    char decimals[] = {(char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
                       (char)('0' + rest % 10)};
    record_line_add(line, TEXT("{\"time\":\""));
    record_line_add(line, (struct text){text, strlen(text)});
    record_line_add(line, (struct text){decimals, sizeof(decimals)});
    record_line_add(line, TEXT("Z\""));
}

/* Null for nought. */
static void add_positive(struct record_line *line, struct text before, uint64_t number)
{
    record_line_add(line, before);
    if (number > 0)
        record_line_number(line, number);
    else
        record_line_add(line, TEXT("null"));
}

static void add_bool(struct record_line *line, struct text before, bool value)
{
    record_line_add(line, before);
    record_line_add(line, value ? TEXT("true") : TEXT("false"));
}

/* A literal of ours, or NULL. */
static void add_word(struct record_line *line, struct text before, const char *word)
{
    record_line_add(line, before);
    record_line_add(line, word ? TEXT("\"") : TEXT("null"));
    record_line_add(line, (struct text){word ? word : "", word ? strlen(word) : 0});
    record_line_add(line, word ? TEXT("\"") : TEXT(""));
}

static void add_upstream(struct record_line *line, const struct record *record)
{
    if (!record->has_head) {
        record_line_add(line, TEXT(",\"upstream_ms\":null,\"upstream_reused\":null"));
        return;
    }
    record_line_add(line, TEXT(",\"upstream_ms\":"));
    record_line_ms(line, record->head_us);
    add_bool(line, TEXT(",\"upstream_reused\":"), record->reused);
}

static void add_figures(struct record_line *line, const struct record *record,
                        const struct peer *peer)
{
    record_line_add(line, TEXT(",\"bytes_in\":"));
    record_line_number(line, peer->received - peer->in.length - record->received);
    record_line_add(line, TEXT(",\"bytes_out\":"));
    record_line_number(line, peer->sent - record->sent);
    record_line_add(line, TEXT(",\"duration_ms\":"));
    record_line_ms(line, now_us() - record->began_us);
    add_upstream(line, record);
}

void record_end(struct client *client)
{
    struct record *record = client->record;
    char text[TEXT_MAX + REST_MAX];
    struct record_line line = {text, sizeof(text), 0};

    if (!record)
        return;
    if (!record->reason)
        record->reason =
            client->peer.failed || client->peer.eof ? RECORD_CLIENT_GONE : RECORD_UPSTREAM_LOST;
    add_time(&line, record->began_at);
    add_word(&line, TEXT(",\"sandbox\":"), client->target.id[0] ? client->target.id : NULL);
    add_positive(&line, TEXT(",\"port\":"), client->port);
    record_line_add(&line, (struct text){record->text, record->length});
    add_word(&line, TEXT(",\"protocol\":"), record->protocol);
    add_bool(&line, TEXT(",\"tls\":"), record->tls);
    add_positive(&line, TEXT(",\"status\":"), record->status);
    add_word(&line, TEXT(",\"answer\":"), record->code);
    add_bool(&line, TEXT(",\"websocket\":"), record->status == 101);
    add_figures(&line, record, &client->peer);
    add_word(&line, TEXT(",\"ended\":"), record->reason);
    record_line_add(&line, TEXT("}\n"));
    log_feed_add(client->worker->feed, text, line.length);
    client->record = NULL;
    give_back(client->worker, record);
}
