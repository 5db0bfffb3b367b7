/* Theory of operation: see idle.h. A timer goes through the sandboxes several times in a timeout.
 * What the figures say is the proxy's word: one that was taken over may keep sandboxes awake or
 * have them paused, which any request ends. Sandboxes beyond the number of slots share one, whose
 * use counts for all of them. */
#include "supervisor/idle.h"

#include "supervisor/pause.h"

#include "base/cleanup.h"
#include "base/figures.h"
#include "base/log.h"
#include "base/str.h"

#define LOOKS_A_TIMEOUT 8
#define LOOK_MIN_MS     250
#define LOOK_MAX_MS     10000

void idle_used(struct sandbox *sandbox)
{
    sandbox->used_at = now_monotonic_ms();
}

/* Whether there are requests at work, or some have begun since the last look. */
static bool is_previewed(struct sandbox *sandbox)
{
    struct figures *figures = sandbox->supervisor->figures;
    struct figures_slot *slot = figures_find(figures, sandbox->id);

    if (!slot)
        slot = &figures->slots[0];
    uint64_t begun = atomic_load(&slot->connections);
    bool more = begun != sandbox->previews_seen;
    sandbox->previews_seen = begun;
    return more || figures_open(figures, slot) > 0;
}

static void look(struct sandbox *sandbox, int64_t timeout_ms)
{
    struct error err = ERROR_NONE;

    if (sandbox->state != SANDBOX_RUNNING)
        return;
    if (is_previewed(sandbox) || sandbox->used_at == 0)
        idle_used(sandbox);
    else if (now_monotonic_ms() - sandbox->used_at >= timeout_ms &&
             sandbox_pause(sandbox, CAUSE_IDLE, &err) < 0)
        log_warning("sandbox %s: pausing it: %s", sandbox->id, err.message);
}

static uint64_t interval_us(int64_t timeout_ms)
{
    int64_t ms = timeout_ms / LOOKS_A_TIMEOUT;

    ms = ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms;
    return (uint64_t)ms * 1000;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct supervisor *supervisor = userdata;
    int64_t timeout_ms = supervisor->config.sandbox_idle_timeout_s * 1000;

    (void)usec;
    for (struct sandbox *sandbox = supervisor->sandboxes; sandbox && !supervisor->stopping;
         sandbox = sandbox->next)
        look(sandbox, timeout_ms);
    sd_event_source_set_time_relative(source, interval_us(timeout_ms));
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

int idle_start(struct supervisor *supervisor, struct error *err)
{
    int64_t timeout_ms = supervisor->config.sandbox_idle_timeout_s * 1000;

    if (timeout_ms == 0)
        return 0;
    struct error problem = ERROR_NONE;
    if (supervisor->figures_fd < 0 ||
        figures_map(supervisor->figures_fd, false, &supervisor->figures, &problem) < 0) {
        log_warning("without figures of the previews no sandbox is paused: %s",
                    problem.err ? problem.message : "there are none");
        return 0;
    }
    int r = sd_event_add_time_relative(supervisor->event, NULL, CLOCK_MONOTONIC,
                                       interval_us(timeout_ms), 0, on_time, supervisor);
    return r < 0 ? error_sys(err, r, "watching for sandboxes that are idle") : 0;
}

int op_used(struct request *request, void *params, struct error *err)
{
    (void)params;
    (void)err;
    idle_used(request->subject);
    request_reply(request, NULL, NULL, 0);
    return 0;
}
