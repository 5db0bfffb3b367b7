/* Theory of operation: see webhooks.h. The webhooks are held in memory, read again after each
 * change and now and then, since another program may share the database. A claim takes what is due
 * out of the database and gives it to the channel; what is claimed and not told of within LEASE_MS
 * is due once more. One claim runs at a time; it is followed by another where there may be more. */
#include "api/webhooks/webhooks.h"

#include "api/events/hub.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <string.h>

#define LEASE_MS     60000 /* longer than a request of auracode-hook, with others ahead of it */
#define FLIGHTS_MAX  32u
#define PAUSE_MAX_MS ((int64_t)3600 * 1000)
#define REREAD_MS    60000
#define DAY_MS       ((int64_t)24 * 3600 * 1000)

struct hook {
    struct hook *next;
    struct webhook row; /* with texts of its own */
    json_t *types;      /* an empty array: all */
};

/* A delivery that was handed to the channel. */
struct flight {
    int64_t id; /* 0: free */
    int64_t attempts, created_at;
    int64_t until_ms; /* CLOCK_REALTIME */
};

struct webhooks {
    struct api *api;
    struct hook *hooks;
    struct flight flights[FLIGHTS_MAX];
    struct webhook_link *link;
    struct event_listener listener;
    sd_event_source *timer;
    int64_t read_ms, forgot_ms; /* CLOCK_MONOTONIC; 0: to be done */
    bool reading, claiming, again;
};

static void wake_in(struct webhooks *webhooks, int64_t ms)
{
    ms = ms < 0 ? 0 : ms > REREAD_MS ? REREAD_MS : ms;
    sd_event_source_set_time_relative(webhooks->timer, (uint64_t)ms * 1000);
    sd_event_source_set_enabled(webhooks->timer, SD_EVENT_ONESHOT);
}

void webhooks_wake(struct webhooks *webhooks)
{
    if (webhooks->claiming)
        webhooks->again = true;
    else
        wake_in(webhooks, 0);
}

/* ---- the webhooks -----------------------------------------------------------------------------
 */

static void hook_free(struct hook *hook)
{
    const char *texts[] = {hook->row.id,  hook->row.owner,  hook->row.user,
                           hook->row.url, hook->row.secret, hook->row.events};

    for (size_t i = 0; i < ELEMENTS(texts); i++)
        free((char *)texts[i]);
    json_decref(hook->types);
    free(hook);
}

static void hooks_free(struct hook *hooks)
{
    while (hooks) {
        struct hook *next = hooks->next;
        hook_free(hooks);
        hooks = next;
    }
}

static struct hook *hook_new(const struct webhook *row)
{
    struct hook *hook = calloc(1, sizeof(*hook));

    if (!hook)
        return NULL;
    hook->row = *row;
    const char **texts[] = {&hook->row.id,  &hook->row.owner,  &hook->row.user,
                            &hook->row.url, &hook->row.secret, &hook->row.events};
    bool whole = true;
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        *texts[i] = strdup(*texts[i]);
        whole = whole && *texts[i];
    }
    hook->types = whole ? json_loads(hook->row.events, 0, NULL) : NULL;
    if (hook->types)
        return hook;
    hook_free(hook);
    return NULL;
}

static void on_read(void *userdata, const struct db_result *results, const struct error *err)
{
    struct webhooks *webhooks = userdata;
    struct webhook row;

    (void)err; /* tried again soon */
    webhooks->reading = false;
    if (!results)
        return;
    hooks_free(webhooks->hooks);
    webhooks->hooks = NULL;
    webhooks->read_ms = now_monotonic_ms();
    for (size_t i = 0; i < results[0].rows; i++) {
        webhook_read(&results[0], i, &row);
        struct hook *hook = row.active ? hook_new(&row) : NULL;
        if (!hook)
            continue;
        hook->next = webhooks->hooks;
        webhooks->hooks = hook;
    }
    webhooks_wake(webhooks);
}

static void read_hooks(struct webhooks *webhooks)
{
    const struct webhook_asker all = {"", true};

    if (webhooks->reading)
        return;
    webhooks->reading = true;
    webhook_list(webhooks->api->db, &all, NULL, on_read, webhooks);
}

void webhooks_changed(struct webhooks *webhooks)
{
    webhooks->read_ms = 0;
    wake_in(webhooks, 0);
}

static const struct hook *find_hook(const struct webhooks *webhooks, const char *id)
{
    const struct hook *hook = webhooks->hooks;

    while (hook && !str_equal(hook->row.id, id))
        hook = hook->next;
    return hook;
}

/* ---- events -----------------------------------------------------------------------------------
 */

static bool wants(const struct hook *hook, const char *owner, const char *type)
{
    size_t i;
    json_t *wanted;

    if (!hook->row.everything &&
        (!owner || !*owner ||
         (!str_equal(owner, hook->row.owner) && !str_equal(owner, hook->row.user))))
        return false;
    json_array_foreach(hook->types, i,
                       wanted) if (str_equal(json_string_value(wanted), type)) return true;
    return json_array_size(hook->types) == 0;
}

static void on_added(void *userdata, const struct db_result *results, const struct error *err)
{
    struct webhooks *webhooks = userdata;

    if (!results)
        log_warning("an event is not sent to a webhook: %s", err->message);
    else if (results[0].rows == 0)
        log_warning("an event is not sent to a webhook: " DELIVERIES_MAX " wait for it");
    else
        webhooks_wake(webhooks);
}

/* What is too long for a packet goes without its data. */
static char *body_of(const struct event *event, const json_t *parsed)
{
    if (event->length <= WEBHOOK_BODY_MAX)
        return strdup(event->text);
    cleanup_json json_t *brief = json_copy((json_t *)parsed);
    if (!brief || json_object_set_new(brief, "data", json_null()) < 0 ||
        json_object_set_new(brief, "truncated", json_true()) < 0)
        return NULL;
    return json_dumps(brief, JSON_COMPACT);
}

static void on_told(struct event_listener *listener, const struct event_box *box,
                    const struct event *event)
{
    struct webhooks *webhooks = listener->userdata;
    const char *owner = json_string_value(json_object_get(box->identity, "owner"));

    if (!webhooks->hooks)
        return;
    cleanup_json json_t *parsed = json_loadb(event->text, event->length, 0, NULL);
    const char *type = json_string_value(json_object_get(parsed, "type"));
    cleanup_free char *body = type ? body_of(event, parsed) : NULL;
    for (const struct hook *hook = webhooks->hooks; hook && body; hook = hook->next)
        if (wants(hook, owner, type))
            delivery_add(webhooks->api->db, hook->row.id, type, body, now_realtime_ms(), on_added,
                         webhooks);
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static int64_t free_flights(struct webhooks *webhooks, int64_t now_ms)
{
    int64_t n = 0;

    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *flight = &webhooks->flights[i];
        if (flight->id && flight->until_ms <= now_ms)
            flight->id = 0;
        n += flight->id == 0;
    }
    return n;
}

static struct flight *find_flight(struct webhooks *webhooks, int64_t id)
{
    for (size_t i = 0; i < FLIGHTS_MAX; i++)
        if (webhooks->flights[i].id == id)
            return &webhooks->flights[i];
    return NULL;
}

static int64_t pause_after(const struct webhooks *webhooks, int64_t attempts)
{
    int64_t pause = webhooks->api->config.webhooks_retry_s * 1000;

    for (; attempts > 0 && pause < PAUSE_MAX_MS; attempts--)
        pause *= 2;
    return pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

/* When the next one is due is known from here on. */
static void on_noted(void *userdata, const struct db_result *results, const struct error *err)
{
    (void)results;
    (void)err; /* then it is due when its lease is over */
    webhooks_wake(userdata);
}

static void fail(struct webhooks *webhooks, const struct flight *flight, int64_t status,
                 const char *error)
{
    int64_t now = now_realtime_ms(), next = now + pause_after(webhooks, flight->attempts);
    bool dead = next > flight->created_at + webhooks->api->config.webhooks_give_up_s * 1000;

    delivery_failed(webhooks->api->db, flight->id, status, error, dead ? now : next, dead, on_noted,
                    webhooks);
}

static void on_answered(struct webhooks *webhooks, int64_t delivery, int64_t status,
                        const char *error)
{
    struct flight *flight = find_flight(webhooks, delivery);

    if (!flight || delivery == 0)
        return;
    if (error)
        fail(webhooks, flight, status, error);
    else
        delivery_done(webhooks->api->db, delivery);
    flight->id = 0;
    webhooks_wake(webhooks);
}

static void start(struct webhooks *webhooks, const struct delivery *delivery)
{
    const struct hook *hook = find_hook(webhooks, delivery->webhook);
    struct flight *flight = find_flight(webhooks, 0);

    if (!hook || !flight)
        return;
    *flight = (struct flight){delivery->id, delivery->attempts, delivery->created_at,
                              now_realtime_ms() + LEASE_MS};
    if (webhook_link_send(webhooks->link, delivery, &hook->row) < 0) {
        fail(webhooks, flight, 0, "it could not be handed to auracode-hook");
        flight->id = 0;
    }
}

static void on_claimed(void *userdata, const struct db_result *results, const struct error *err)
{
    struct webhooks *webhooks = userdata;
    struct delivery delivery;
    int64_t next = 0;

    (void)err; /* tried again soon */
    webhooks->claiming = false;
    for (size_t i = 0; results && i < results[0].rows; i++) {
        delivery_read(&results[0], i, &delivery);
        start(webhooks, &delivery);
    }
    if (results && results[1].rows)
        next = db_int(&results[1], 0, 0);
    if (webhooks->again || (results && results[0].rows == DELIVERIES_CLAIM))
        wake_in(webhooks, 0);
    else
        wake_in(webhooks, next ? next - now_realtime_ms() : REREAD_MS);
    webhooks->again = false;
}

static void claim(struct webhooks *webhooks)
{
    int64_t now = now_realtime_ms(), room = free_flights(webhooks, now);

    wake_in(webhooks, REREAD_MS);
    /* the channel is taken early: with nobody at this end it ends with the supervisor */
    if (!webhook_link_ready(webhooks->link) || !webhooks->hooks || webhooks->claiming || room == 0)
        return;
    webhooks->claiming = true;
    deliveries_claim(webhooks->api->db, now, now + LEASE_MS,
                     room < DELIVERIES_CLAIM ? room : DELIVERIES_CLAIM, on_claimed, webhooks);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct webhooks *webhooks = userdata;
    int64_t now = now_monotonic_ms();

    (void)source;
    (void)usec;
    if (!webhooks->read_ms || now - webhooks->read_ms >= REREAD_MS)
        read_hooks(webhooks);
    if (!webhooks->forgot_ms || now - webhooks->forgot_ms >= DAY_MS) {
        webhooks->forgot_ms = now;
        deliveries_forget(webhooks->api->db, now_realtime_ms() - WEBHOOKS_DEAD_DAYS * DAY_MS);
    }
    claim(webhooks);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct webhooks *webhooks_new(struct api *api)
{
    struct webhooks *webhooks = calloc(1, sizeof(*webhooks));

    if (!webhooks)
        return NULL;
    webhooks->api = api;
    webhooks->link = webhook_link_new(api, webhooks, on_answered);
    webhooks->listener = (struct event_listener){.told = on_told, .userdata = webhooks};
    if (!webhooks->link || sd_event_add_time_relative(api->event, &webhooks->timer, CLOCK_MONOTONIC,
                                                      0, 1000, on_timer, webhooks) < 0) {
        webhook_link_free(webhooks->link);
        free(webhooks);
        return NULL;
    }
    event_listen(api->events, &webhooks->listener);
    return webhooks;
}

void webhooks_free(struct webhooks *webhooks)
{
    if (!webhooks)
        return;
    webhook_link_free(webhooks->link);
    hooks_free(webhooks->hooks);
    sd_event_source_disable_unref(webhooks->timer);
    free(webhooks);
}
