/* Theory of operation: see use.h. Told a few times in a timeout, not more often. */
#include "api/use.h"

#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <stdio.h>

#define TOLD_A_TIMEOUT 4

struct use {
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    sd_event_source *timer;
};

static void ignore(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)result;
    (void)fds;
    (void)err;
}

static void tell(struct api *api, const char *sandbox)
{
    supervisor_call(api->supervisor, "sandbox.used", json_pack("{s:s}", "sandbox", sandbox),
                    CALL_ONCE, ignore, NULL);
}

static int64_t interval_ms(const struct api *api)
{
    return api->config.sandbox_idle_timeout_s * 1000 / TOLD_A_TIMEOUT;
}

void use_once(struct api *api, const char *sandbox, int64_t *told_at)
{
    int64_t now = now_monotonic_ms();

    if (interval_ms(api) == 0 || (*told_at > 0 && now - *told_at < interval_ms(api)))
        return;
    *told_at = now;
    tell(api, sandbox);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct use *use = userdata;

    (void)usec;
    tell(use->api, use->sandbox);
    sd_event_source_set_time_relative(source, (uint64_t)interval_ms(use->api) * 1000);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

struct use *use_begin(struct api *api, const char *sandbox)
{
    struct use *use = interval_ms(api) > 0 ? calloc(1, sizeof(*use)) : NULL;

    if (!use)
        return NULL;
    use->api = api;
    snprintf(use->sandbox, sizeof(use->sandbox), "%s", sandbox);
    if (sd_event_add_time_relative(api->event, &use->timer, CLOCK_MONOTONIC,
                                   (uint64_t)interval_ms(api) * 1000, 0, on_time, use) < 0) {
        free(use);
        return NULL;
    }
    return use;
}

void use_end(struct use *use)
{
    if (!use)
        return;
    sd_event_source_disable_unref(use->timer);
    tell(use->api, use->sandbox);
    free(use);
}
