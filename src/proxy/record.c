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
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
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

/* Of a field that is there, perhaps empty; else without data. */
static struct text field_of(const struct head *head, struct text name)
{
    for (size_t i = 0; i < head->n_fields; i++)
        if (text_is_case(head->fields[i].name, name))
            return head->fields[i].value;
    return nothing;
}

static void add_client(struct record_line *line, const struct client *client,
                       const struct head *head)
{
    struct text address = {client->address, strlen(client->address)};
    struct forwarded forwarded;

    if (head && client->trusted) {
        forwarded_read(head, &forwarded);
        struct text told = forwarded_client(&forwarded, &client->worker->proxy->trusted);
        address = told.length > 0 ? told : address;
    }
    record_line_member(line, "client", address, CLIENT_MOST);
}

static void write_request(struct record_line *line, const struct client *client,
                          const struct head *head)
{
    struct text host = {client->authority, client->authority_length};

    record_line_member(line, "host", head ? host : nothing, HOST_MOST);
    add_client(line, client, head);
    record_line_member(line, "method", head ? head->method : nothing, METHOD_MOST);
    record_line_member(line, "path", head ? client_target(head) : nothing, PATH_MOST);
    record_line_member(line, "user_agent", head ? field_of(head, TEXT("user-agent")) : nothing,
                       USER_AGENT_MOST);
    record_line_member(line, "referer", head ? field_of(head, TEXT("referer")) : nothing,
                       REFERER_MOST);
    record_line_member(line, "request_id", head ? field_of(head, TEXT("x-request-id")) : nothing,
                       REQUEST_ID_MOST);
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
    struct tm tm;

    if (second != of && gmtime_r(&second, &tm)) {
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        of = second;
    }
    record_line_print(line, "{\"time\":\"%s.%03dZ\"", text, (int)(ms % 1000));
}

static void add_target(struct record_line *line, const struct client *client)
{
    const struct target *target = &client->target;

    record_line_print(line, target->id[0] ? ",\"sandbox\":\"%s\"" : ",\"sandbox\":null",
                      target->id);
    record_line_print(line, client->port > 0 ? ",\"port\":%u" : ",\"port\":null", client->port);
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void add_outcome(struct record_line *line, const struct record *record,
                        const struct client *client)
{
    const struct peer *peer = &client->peer;
    const char *code = record->code, *quote = code ? "\"" : "";
    uint64_t us = now_us() - record->began_us;

    record_line_print(line, ",\"protocol\":\"%s\",\"tls\":%s", record->protocol,
                      boolean(record->tls));
    record_line_print(line, record->status > 0 ? ",\"status\":%u" : ",\"status\":null",
                      record->status);
    record_line_print(line, ",\"answer\":%s%s%s,\"websocket\":%s", quote, code ? code : "null",
                      quote, boolean(record->status == 101));
    record_line_print(line, ",\"bytes_in\":%llu,\"bytes_out\":%llu,\"duration_ms\":%llu.%03u",
                      (unsigned long long)(peer->received - peer->in.length - record->received),
                      (unsigned long long)(peer->sent - record->sent),
                      (unsigned long long)(us / 1000), (unsigned int)(us % 1000));
    if (record->has_head)
        record_line_print(line, ",\"upstream_ms\":%llu.%03u,\"upstream_reused\":%s",
                          (unsigned long long)(record->head_us / 1000),
                          (unsigned int)(record->head_us % 1000), boolean(record->reused));
    else
        record_line_add(line, TEXT(",\"upstream_ms\":null,\"upstream_reused\":null"));
    record_line_print(line, ",\"ended\":\"%s\"}\n", record->reason);
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
    add_target(&line, client);
    record_line_add(&line, (struct text){record->text, record->length});
    add_outcome(&line, record, client);
    log_feed_add(client->worker->feed, text, line.length);
    client->record = NULL;
    give_back(client->worker, record);
}
