/* GET /metrics, in the text format of Prometheus: what this build is and what the proxy counted
 * (base/figures.h), for administrators. Its size is bounded by the slots that figures have. */
#include "api/handlers.h"

#include "base/cleanup.h"
#include "base/figures.h"
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t (*figure_fn)(const struct figures *figures, const struct figures_slot *slot);

static uint64_t received(const struct figures *figures, const struct figures_slot *slot)
{
    (void)figures;
    return atomic_load(&slot->received);
}

static uint64_t sent(const struct figures *figures, const struct figures_slot *slot)
{
    (void)figures;
    return atomic_load(&slot->sent);
}

static uint64_t begun(const struct figures *figures, const struct figures_slot *slot)
{
    (void)figures;
    return atomic_load(&slot->connections);
}

static const struct {
    const char *name, *type, *help;
    figure_fn of;
} simple[] = {
    {"auracode_proxy_received_bytes_total", "counter", "Bytes from clients.", received},
    {"auracode_proxy_sent_bytes_total", "counter", "Bytes to clients.", sent},
    {"auracode_proxy_connections_total", "counter", "Requests and WebSockets begun.", begun},
    {"auracode_proxy_connections", "gauge", "Requests and WebSockets at work.", figures_open},
};

/* The id of a slot that counts for a sandbox, "other" for the shared one, NULL for one that does
 * not count. What was written by the proxy is not trusted. */
static const char *name_of(const struct figures *figures, size_t i, char id[SANDBOX_ID_LENGTH + 1])
{
    const struct figures_slot *slot = &figures->slots[i];

    if (i == 0)
        return begun(figures, slot) > 0 ? "other" : NULL;
    if (atomic_load(&slot->used) == 0)
        return NULL;
    memcpy(id, slot->id, SANDBOX_ID_LENGTH);
    id[SANDBOX_ID_LENGTH] = '\0';
    return sandbox_id_valid(id) ? id : NULL;
}

static void write_simple(FILE *out, const struct figures *figures)
{
    char id[SANDBOX_ID_LENGTH + 1];
    const char *name;

    for (size_t m = 0; m < ELEMENTS(simple); m++) {
        fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", simple[m].name, simple[m].help, simple[m].name,
                simple[m].type);
        for (size_t i = 0; i < FIGURES_SLOTS; i++)
            if ((name = name_of(figures, i, id)))
                fprintf(out, "%s{sandbox=\"%s\"} %" PRIu64 "\n", simple[m].name, name,
                        simple[m].of(figures, &figures->slots[i]));
    }
}

static void write_requests(FILE *out, const struct figures *figures)
{
    char id[SANDBOX_ID_LENGTH + 1];
    const char *name;

    fputs("# HELP auracode_proxy_requests_total Answered requests by class of status.\n"
          "# TYPE auracode_proxy_requests_total counter\n",
          out);
    for (size_t i = 0; i < FIGURES_SLOTS; i++) {
        if (!(name = name_of(figures, i, id)))
            continue;
        for (size_t class = 1; class < FIGURES_CLASSES; class ++)
            fprintf(out,
                    "auracode_proxy_requests_total{sandbox=\"%s\",status=\"%zuxx\"} %" PRIu64 "\n",
                    name, class, atomic_load(&figures->slots[i].requests[class]));
    }
}

static void write_latency(FILE *out, const char *name, const struct figures_slot *slot)
{
    uint64_t sum = 0;

    for (size_t b = 0; b < FIGURES_BUCKETS; b++) {
        char bound[32] = "+Inf";
        sum += atomic_load(&slot->latency[b]);
        if (b < FIGURES_BUCKETS - 1)
            snprintf(bound, sizeof(bound), "%g", figures_bounds[b] / 1e6);
        fprintf(out,
                "auracode_proxy_upstream_seconds_bucket{sandbox=\"%s\",le=\"%s\"} %" PRIu64 "\n",
                name, bound, sum);
    }
    fprintf(out,
            "auracode_proxy_upstream_seconds_sum{sandbox=\"%s\"} %.6f\n"
            "auracode_proxy_upstream_seconds_count{sandbox=\"%s\"} %" PRIu64 "\n",
            name, (double)atomic_load(&slot->latency_us) / 1e6, name, sum);
}

static void write_latencies(FILE *out, const struct figures *figures)
{
    char id[SANDBOX_ID_LENGTH + 1];
    const char *name;

    fputs(
        "# HELP auracode_proxy_upstream_seconds From a request sent to the dev server to the head "
        "of its response.\n# TYPE auracode_proxy_upstream_seconds histogram\n",
        out);
    for (size_t i = 0; i < FIGURES_SLOTS; i++)
        if ((name = name_of(figures, i, id)))
            write_latency(out, name, &figures->slots[i]);
}

static void write_log_lost(FILE *out, const struct figures *figures)
{
    fprintf(
        out,
        "# HELP auracode_proxy_access_log_lost_total Lines of the access log that were dropped.\n"
        "# TYPE auracode_proxy_access_log_lost_total counter\n"
        "auracode_proxy_access_log_lost_total %" PRIu64 "\n",
        atomic_load(&figures->log_lost));
}

static char *write_all(const struct figures *figures)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        return NULL;
    fprintf(out,
            "# HELP auracode_build_info What runs here.\n# TYPE auracode_build_info gauge\n"
            "auracode_build_info{version=\"%s\"} 1\n",
            PACKAGE_VERSION);
    if (figures) {
        write_requests(out, figures);
        write_simple(out, figures);
        write_latencies(out, figures);
        write_log_lost(out, figures);
    }
    bool failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

HANDLER(system_metrics)
{
    (void)query;
    (void)body;
    (void)err;
    char *text = write_all(request->api->figures);
    http_reply_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", text);
    return 0;
}

void metrics_add_stats(const struct api *api, const char *id, json_t *stats)
{
    const struct figures_slot *slot = api->figures ? figures_find(api->figures, id) : NULL;
    uint64_t requests = 0;

    for (size_t class = 1; slot && class < FIGURES_CLASSES; class ++)
        requests += atomic_load(&slot->requests[class]);
    json_object_set_new(stats, "preview_requests", json_integer((json_int_t)requests));
    json_object_set_new(stats, "preview_received_bytes",
                        json_integer(slot ? (json_int_t)atomic_load(&slot->received) : 0));
    json_object_set_new(stats, "preview_sent_bytes",
                        json_integer(slot ? (json_int_t)atomic_load(&slot->sent) : 0));
    json_object_set_new(stats, "preview_connections",
                        json_integer(slot ? (json_int_t)figures_open(api->figures, slot) : 0));
}
