/* Theory of operation. A question is refused, answered from the cache, or looked up. In mode allow
 * the addresses of an answer are opened in the packet filter by the supervisor before the answer is
 * sent, so that a program can connect as soon as it has it. */
#include "resolver/query.h"

#include "resolver/stream.h"
#include "resolver/upstream.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct query {
    struct query *next;
    struct asker asker;
    struct question question;
    struct lookup *lookup;
    json_int_t call; /* to the supervisor; 0: none */
};

static void send_wire(const struct asker *asker, const uint8_t *wire, size_t length)
{
    if (asker->stream)
        stream_answer(asker->stream, wire, length);
    else
        sendto(asker->box->udp, wire, length, MSG_NOSIGNAL, (const struct sockaddr *)&asker->from,
               sizeof(asker->from));
}

static void reply(const struct asker *asker, const struct question *question,
                  const struct answer *answer, uint8_t rcode, uint32_t ttl)
{
    size_t length;
    size_t max = asker->stream ? PACKET_TCP_MAX : question->udp_size;
    cleanup_free uint8_t *wire =
        answer_to_wire(question, answer ? answer->records : NULL, rcode, ttl, max, &length);

    if (wire)
        send_wire(asker, wire, length);
}

static void count_refusal(struct box *box)
{
    box->refused++;
    box->dirty = true;
    control_counts_changed(box->control);
}

static struct query *query_new(const struct asker *asker, const struct question *question)
{
    struct query *query = calloc(1, sizeof(*query));

    if (!query)
        return NULL;
    query->asker = *asker;
    query->question = *question;
    query->next = asker->box->queries;
    asker->box->queries = query;
    asker->box->n_queries++;
    if (asker->stream)
        stream_set_query(asker->stream, query);
    return query;
}

/* Unlinks and frees what has nothing outstanding any more. */
static void query_free(struct query *query)
{
    struct box *box = query->asker.box;

    for (struct query **link = &box->queries; *link; link = &(*link)->next)
        if (*link == query) {
            *link = query->next;
            box->n_queries--;
            break;
        }
    if (query->asker.stream)
        stream_set_query(query->asker.stream, NULL);
    free(query);
}

void query_cancel(struct query *query)
{
    if (query->lookup)
        lookup_cancel(query->lookup);
    if (query->call)
        rpc_cancel(&query->asker.box->control->supervisor, query->call);
    query_free(query);
}

static void end(struct query *query, const struct answer *answer, uint8_t rcode, uint32_t ttl)
{
    struct asker asker = query->asker;
    struct question question = query->question;

    query_free(query);
    reply(&asker, &question, answer, rcode, ttl);
}

/* ---- opening addresses
 * ------------------------------------------------------------------------------- */

static int grant(struct box *box, const struct cache_entry *entry, rpc_reply_fn done,
                 void *userdata, json_int_t *ret_call)
{
    int64_t seconds = cache_ttl(entry, now_monotonic_ms()) + GRACE;

    return rpc_call(&box->control->supervisor, "egress.allow",
                    json_pack("{s:s, s:s, s:o, s:I}", "sandbox", box->id, "name", entry->name,
                              "addresses", answer_addresses(&entry->answer), "seconds",
                              (json_int_t)seconds),
                    NULL, 0, done, userdata, ret_call, NULL);
}

static void mark_granted(struct cache_entry *entry)
{
    entry->granted_until_ms = entry->expires_ms + (int64_t)GRACE * 1000;
}

static void on_granted(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct query *query = userdata;
    struct box *box = query->asker.box;
    int64_t now = now_monotonic_ms();
    struct cache_entry *entry =
        cache_find(&box->cache, query->question.name, query->question.type, now);

    (void)fds;
    query->call = 0;
    if (!result)
        log_info("sandbox %s: `%s` is not opened: %s", box->id, query->question.name, err->message);
    if (!result || !entry) {
        if (!result)
            count_refusal(box);
        end(query, NULL, LDNS_RCODE_SERVFAIL, 0);
        return;
    }
    mark_granted(entry);
    end(query, &entry->answer, entry->answer.rcode, cache_ttl(entry, now));
}

static bool must_grant(const struct box *box, const struct cache_entry *entry)
{
    cleanup_json json_t *addresses = NULL;

    if (box->any || entry->granted_until_ms >= entry->expires_ms)
        return false;
    addresses = answer_addresses(&entry->answer);
    return json_array_size(addresses) > 0;
}

static void grant_and_reply(struct query *query, const struct cache_entry *entry)
{
    if (grant(query->asker.box, entry, on_granted, query, &query->call) < 0)
        end(query, NULL, LDNS_RCODE_SERVFAIL, 0);
}

static void ignore(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (!result)
        log_info("opening addresses once more: %s", err->message);
}

void queries_grant_again(struct box *box)
{
    int64_t now = now_monotonic_ms();

    for (size_t i = 0; i < box->cache.count; i++) {
        struct cache_entry *entry = box->cache.entries[i];
        if (!box->any && entry->granted_until_ms > now)
            grant(box, entry, ignore, NULL, NULL);
    }
}

/* ---- looking up
 * -------------------------------------------------------------------------------------- */

static void on_found(void *userdata, int r, struct answer *answer)
{
    struct query *query = userdata;
    struct box *box = query->asker.box;
    int64_t now = now_monotonic_ms();

    query->lookup = NULL;
    if (r == -EPERM) {
        log_info("sandbox %s: `%s` leads to an address that is not public: refused", box->id,
                 query->question.name);
        count_refusal(box);
    }
    struct cache_entry *entry =
        r == 0 ? cache_add(&box->cache, &query->question, answer, now) : NULL;
    if (!entry)
        end(query, NULL, r == -EPERM ? LDNS_RCODE_REFUSED : LDNS_RCODE_SERVFAIL, 0);
    else if (must_grant(box, entry))
        grant_and_reply(query, entry);
    else
        end(query, &entry->answer, entry->answer.rcode, cache_ttl(entry, now));
}

static void look_up(const struct asker *asker, const struct question *question)
{
    struct query *query = query_new(asker, question);

    if (!query)
        reply(asker, question, NULL, LDNS_RCODE_SERVFAIL, 0);
    else if (lookup_start(&asker->box->control->upstream, question, on_found, query,
                          &query->lookup) < 0)
        end(query, NULL, LDNS_RCODE_SERVFAIL, 0);
}

static void answer_cached(const struct asker *asker, const struct question *question,
                          const struct cache_entry *entry)
{
    struct query *query;

    if (!must_grant(asker->box, entry)) {
        reply(asker, question, &entry->answer, entry->answer.rcode,
              cache_ttl(entry, now_monotonic_ms()));
        return;
    }
    query = query_new(asker, question);
    if (query)
        grant_and_reply(query, entry);
    else
        reply(asker, question, NULL, LDNS_RCODE_SERVFAIL, 0);
}

static void serve(const struct asker *asker, const struct question *question)
{
    struct box *box = asker->box;
    const struct cache_entry *entry;

    if (!box_admit(box) || !box_may_ask(box, question->name)) {
        count_refusal(box);
        reply(asker, question, NULL, LDNS_RCODE_REFUSED, 0);
    } else if (name_is_special(question->name)) {
        reply(asker, question, NULL, LDNS_RCODE_NXDOMAIN, 0);
    } else if (!type_is_served(question->type)) {
        reply(asker, question, NULL, LDNS_RCODE_NOERROR, 0);
    } else if ((entry =
                    cache_find(&box->cache, question->name, question->type, now_monotonic_ms()))) {
        answer_cached(asker, question, entry);
    } else {
        look_up(asker, question);
    }
}

int query_begin(const struct asker *asker, const uint8_t *wire, size_t length)
{
    struct question question;
    uint8_t rcode;
    int r = question_parse(wire, length, &question, &rcode);

    if (r < 0)
        return r;
    asker->box->asked++;
    asker->box->dirty = true;
    control_counts_changed(asker->box->control);
    if (r > 0)
        reply(asker, &question, NULL, rcode, 0);
    else
        serve(asker, &question);
    return 0;
}
