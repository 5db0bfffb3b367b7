/* Theory of operation: see dev-wait.h. One timer for all, set to the earliest deadline. */
#include "api/dev-wait.h"

#include "api/request.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>

struct waiter {
    struct waiter *next;
    struct http_request *request;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    int64_t deadline_ms;
    dev_wait_fn done;
};

struct dev_waiters {
    struct waiter *first;
    sd_event_source *timer;
};

bool dev_state_settled(const json_t *service)
{
    const char *state = json_string_value(json_object_get(service, "state"));

    return !str_equal(state, "starting");
}

static void arm(struct dev_waiters *waiters)
{
    int64_t earliest = INT64_MAX;

    for (struct waiter *waiter = waiters->first; waiter; waiter = waiter->next)
        if (waiter->deadline_ms < earliest)
            earliest = waiter->deadline_ms;
    sd_event_source_set_enabled(waiters->timer, waiters->first ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    if (waiters->first)
        sd_event_source_set_time(waiters->timer, (uint64_t)earliest * 1000);
}

/* Ends the waiters of a sandbox (NULL: of any) whose deadline is not after `latest_ms`. Callbacks
 * may add new ones, so those that end leave the list first. */
static void end_waiters(struct dev_waiters *waiters, const char *sandbox, int64_t latest_ms,
                        json_t *service, const struct error *err)
{
    struct waiter *ending = NULL;

    for (struct waiter **link = &waiters->first; *link;) {
        struct waiter *waiter = *link;
        if ((sandbox && !str_equal(waiter->sandbox, sandbox)) || waiter->deadline_ms > latest_ms) {
            link = &waiter->next;
            continue;
        }
        *link = waiter->next;
        waiter->next = ending;
        ending = waiter;
    }
    while (ending) {
        struct waiter *waiter = ending;
        ending = waiter->next;
        waiter->done(waiter->request, service, err);
        free(waiter);
    }
    arm(waiters);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    end_waiters(userdata, NULL, now_monotonic_ms(), NULL, NULL);
    return 0;
}

void dev_wait(struct http_request *request, const char *sandbox, int64_t timeout_ms,
              dev_wait_fn done)
{
    struct dev_waiters *waiters = request->api->dev_waiters;
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    struct error err = ERROR_NONE;

    if (!waiter) {
        error_oom(&err);
        done(request, NULL, &err);
        return;
    }
    *waiter = (struct waiter){.next = waiters->first,
                              .request = request,
                              .deadline_ms = now_monotonic_ms() + timeout_ms,
                              .done = done};
    snprintf(waiter->sandbox, sizeof(waiter->sandbox), "%s", sandbox);
    waiters->first = waiter;
    arm(waiters);
}

bool dev_wait_any(struct api *api, const char *sandbox)
{
    for (struct waiter *waiter = api->dev_waiters->first; waiter; waiter = waiter->next)
        if (str_equal(waiter->sandbox, sandbox))
            return true;
    return false;
}

void dev_wait_event(struct api *api, const char *sandbox, json_t *service)
{
    if (json_is_object(service) && dev_state_settled(service))
        end_waiters(api->dev_waiters, sandbox, INT64_MAX, service, NULL);
}

void dev_wait_lost(struct api *api, const char *sandbox)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, ECONNRESET, "sandbox_unreachable", "the sandbox ended");
    end_waiters(api->dev_waiters, sandbox, INT64_MAX, NULL, &err);
}

struct dev_waiters *dev_waiters_new(struct api *api)
{
    struct dev_waiters *waiters = calloc(1, sizeof(*waiters));

    if (!waiters)
        return NULL;
    if (sd_event_add_time(api->event, &waiters->timer, CLOCK_MONOTONIC, 0, 1000, on_timer,
                          waiters) < 0 ||
        sd_event_source_set_enabled(waiters->timer, SD_EVENT_OFF) < 0) {
        dev_waiters_free(waiters);
        return NULL;
    }
    return waiters;
}

void dev_waiters_free(struct dev_waiters *waiters)
{
    struct error err = ERROR_NONE;

    if (!waiters)
        return;
    error_set(&err, EAGAIN, "the server is stopping");
    end_waiters(waiters, NULL, INT64_MAX, NULL, &err);
    sd_event_source_disable_unref(waiters->timer);
    free(waiters);
}
