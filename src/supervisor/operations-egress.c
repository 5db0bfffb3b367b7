/* Theory of operation: see operations-egress.h. What the helper must do first is answered when it
 * has: the request waits, and finds its sandbox again by id. */
#include "supervisor/operations-egress.h"

#include "supervisor/link.h"
#include "supervisor/pause.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define LIST_MAX        1024 /* ids in a packet */
#define GRANT_SECONDS   86400
#define GRANT_ADDRESSES 32

#define AT(member) offsetof(struct egress_params, member)

const struct field egress_id_fields[1] = {
    {"sandbox", FIELD_SANDBOX_ID, AT(id), 0, 0, true, NULL},
};
const struct field egress_list_fields[1] = {
    {"after", FIELD_SANDBOX_ID, offsetof(struct egress_list_params, after), 0, 0, false, NULL},
};
const struct field egress_allow_fields[4] = {
    {"sandbox", FIELD_SANDBOX_ID, AT(id), 0, 0, true, NULL},
    {"name", FIELD_STRING, AT(name), 1, DOMAIN_MAX, true, NULL},
    {"addresses", FIELD_STRING_ARRAY, AT(addresses), 1, GRANT_ADDRESSES, true, NULL},
    {"seconds", FIELD_INT, AT(seconds), 1, GRANT_SECONDS, true, NULL},
};
const struct field egress_count_fields[3] = {
    {"sandbox", FIELD_SANDBOX_ID, AT(id), 0, 0, true, NULL},
    {"queries", FIELD_INT, AT(queries), 0, INT64_MAX, true, NULL},
    {"refusals", FIELD_INT, AT(refusals), 0, INT64_MAX, true, NULL},
};

static struct sandbox *sandbox_of(struct request *request)
{
    return request->subject;
}

static struct supervisor *supervisor_of(struct request *request)
{
    return request->conn->userdata;
}

/* Configured ones, or those of the host. */
static json_t *name_servers(const struct supervisor *supervisor)
{
    const char *list = supervisor->config.egress_nameservers;
    size_t count = str_list_count(list);
    json_t *servers = count > 0 ? json_array() : host_name_servers();

    for (size_t i = 0; i < count; i++) {
        cleanup_free char *item = str_list_item(list, i);
        json_array_append_new(servers, json_string(item ? item : ""));
    }
    return servers;
}

static const struct sandbox *next_linked(const struct supervisor *supervisor, const char *after)
{
    const struct sandbox *best = NULL;

    for (const struct sandbox *s = supervisor->sandboxes; s; s = s->next)
        if (s->egress.linked && strcmp(s->id, after) > 0 && (!best || strcmp(s->id, best->id) < 0))
            best = s;
    return best;
}

int op_egress_list(struct request *request, void *params, struct error *err)
{
    const struct egress_list_params *list = params;
    const struct supervisor *supervisor = supervisor_of(request);
    const struct sandbox *sandbox = next_linked(supervisor, list->after ? list->after : "");
    json_t *ids = json_array();

    (void)err;
    while (sandbox && json_array_size(ids) < LIST_MAX) {
        json_array_append_new(ids, json_string(sandbox->id));
        sandbox = next_linked(supervisor, sandbox->id);
    }
    request_reply(request,
                  json_pack("{s:o, s:b, s:o}", "sandboxes", ids, "more", sandbox != NULL, "servers",
                            name_servers(supervisor)),
                  NULL, 0);
    return 0;
}

static int refuse_unlinked(const struct sandbox *sandbox, struct error *err)
{
    return sandbox->egress.linked ? 0
                                  : error_set_code(err, ENOTCONN, "no_egress",
                                                   "sandbox %s has no network", sandbox->id);
}

static json_t *domain_patterns(const struct supervisor *supervisor, const json_t *egress)
{
    cleanup_json json_t *flat = egress_expand(supervisor, egress);
    json_t *patterns = json_array();
    size_t i;
    json_t *rule;

    json_array_foreach(flat, i, rule) if (json_object_get(rule, "domain"))
        json_array_append(patterns, json_object_get(rule, "domain"));
    return patterns;
}

static json_t *what_may_be_asked(const struct sandbox *sandbox)
{
    const json_t *egress = json_object_get(sandbox->spec, "egress");

    return json_pack("{s:i, s:b, s:o, s:I, s:I}", "generation", (int)sandbox->generation, "any",
                     egress_mode(egress) == EGRESS_RESTRICTED, "domains",
                     domain_patterns(sandbox->supervisor, egress), "queries",
                     (json_int_t)sandbox->egress.queries, "refusals",
                     (json_int_t)sandbox->egress.refusals);
}

int op_egress_get(struct request *request, void *params, struct error *err)
{
    (void)params;
    int r = refuse_unlinked(sandbox_of(request), err);

    if (r == 0)
        request_reply(request, what_may_be_asked(sandbox_of(request)), NULL, 0);
    return r;
}

/* Ours are lost when a supervisor takes the sandbox over; the asker's are gone, too, or it would
 * not ask. */
int op_egress_sockets(struct request *request, void *params, struct error *err)
{
    struct sandbox *sandbox = sandbox_of(request);
    struct egress_state *state = &sandbox->egress;

    (void)params;
    int r = refuse_unlinked(sandbox, err);
    if (r == 0 && state->resolver_fds[0] < 0)
        r = netns_resolver_sockets(sandbox->netns_fd, state->resolver_fds, err);
    if (r == 0)
        request_reply(request, what_may_be_asked(sandbox), state->resolver_fds, 2);
    return r;
}

static void on_granted(void *userdata, const struct error *err)
{
    struct request *request = userdata;

    if (err->err)
        request_fail(request, err);
    else
        request_reply(request, NULL, NULL, 0);
}

int op_egress_allow(struct request *request, void *params, struct error *err)
{
    const struct egress_params *allow = params;

    return egress_grant(sandbox_of(request), allow->name, allow->addresses, allow->seconds,
                        on_granted, request, err);
}

int op_egress_count(struct request *request, void *params, struct error *err)
{
    const struct egress_params *count = params;
    struct egress_state *state = &sandbox_of(request)->egress;

    (void)err;
    state->queries = count->queries;
    state->refusals = count->refusals;
    request_reply(request, NULL, NULL, 0);
    return 0;
}

/* ---- stats
 * ------------------------------------------------------------------------------------------------
 */

static void add_egress(const struct sandbox *sandbox, json_t *answer)
{
    static const char *const names[] = {"egress_accepted_packets", "egress_accepted_bytes",
                                        "egress_refused_packets", "egress_refused_bytes"};
    const struct egress_state *state = &sandbox->egress;
    int64_t rx = -1, tx = -1;

    if (state->linked)
        link_bytes(sandbox->id, &rx, &tx);
    json_object_set_new(answer, "network_rx_bytes", json_integer(rx));
    json_object_set_new(answer, "network_tx_bytes", json_integer(tx));
    for (size_t i = 0; i < ELEMENTS(names); i++)
        json_object_set_new(answer, names[i],
                            json_integer(state->linked ? state->counters[i] : -1));
    json_object_set_new(answer, "dns_queries", json_integer(state->linked ? state->queries : -1));
    json_object_set_new(answer, "dns_refused", json_integer(state->linked ? state->refusals : -1));
}

static int reply_stats(struct request *request, const struct sandbox *sandbox, struct error *err)
{
    struct cgroup_stats stats;
    struct disk_usage disk;

    cgroup_stats(&sandbox->supervisor->cgroups, sandbox->id, &stats);
    disk_usage(sandbox, &disk);
    json_t *answer = cgroup_stats_to_json(&stats);
    if (!answer || disk_usage_add_to(&disk, answer) < 0) {
        json_decref(answer);
        return error_oom(err);
    }
    add_egress(sandbox, answer);
    request_reply(request, answer, NULL, 0);
    return 0;
}

struct waiting_stats {
    struct supervisor *supervisor;
    struct request *request;
    char id[SANDBOX_ID_LENGTH + 1];
};

/* Counters that cannot be read stay as last read. */
static void on_counters(void *userdata, const struct error *failure)
{
    cleanup_free struct waiting_stats *waiting = userdata;
    struct sandbox *sandbox = sandbox_find(waiting->supervisor, waiting->id);
    struct error err = ERROR_NONE;

    (void)failure;
    int r = sandbox && sandbox_lives(sandbox) ? reply_stats(waiting->request, sandbox, &err)
                                              : error_set_code(&err, EBUSY, "sandbox_not_running",
                                                               "sandbox %s has ended", waiting->id);
    if (r < 0)
        request_fail(waiting->request, &err);
}

int op_stats(struct request *request, void *params, struct error *err)
{
    struct sandbox *sandbox = sandbox_of(request);

    (void)params;
    if (!sandbox->egress.linked)
        return reply_stats(request, sandbox, err);
    struct waiting_stats *waiting = calloc(1, sizeof(*waiting));
    if (!waiting)
        return error_oom(err);
    *waiting = (struct waiting_stats){.supervisor = sandbox->supervisor, .request = request};
    memcpy(waiting->id, sandbox->id, sizeof(waiting->id));
    int r = egress_read_counters(sandbox, on_counters, waiting, err);
    if (r < 0)
        free(waiting);
    return r;
}
