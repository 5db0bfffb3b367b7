/* Theory of operation. Disk images are sparse, so sandboxes may be promised more than the host has.
 * A write inside that the host has no block for would be an I/O error, and one to its journal would
 * leave the sandbox with a read-only disk. So the room left on the host is looked at, the more
 * often the less there is; below [sandbox] disk_reserve every image is closed: its limit becomes
 * what it uses, which programs see as an ordinary full disk. Images are opened again when there is
 * twice the reserve. What was written before but lies in memory only still goes to the host: that
 * is what the reserve is for. */
#include "supervisor/disk.h"

#include "supervisor/pause.h"
#include "supervisor/sandbox.h"

#include "base/log.h"

#include <errno.h>

#define SELDOM_US    ((uint64_t)2000 * 1000)
#define OFTEN_US     ((uint64_t)100 * 1000)
#define NEAR_TIMES   16 /* of the reserve */
#define REOPEN_TIMES 2

static void set_closed(struct sandbox *sandbox, bool closed)
{
    struct error err = ERROR_NONE;

    if (sandbox->disk_closed == closed || !sandbox->disk->close || !sandbox_lives(sandbox))
        return;
    if (sandbox->disk->close(sandbox, closed, &err) < 0)
        log_warning("sandbox %s: %s its disk: %s", sandbox->id, closed ? "closing" : "opening",
                    err.message);
    else
        sandbox->disk_closed = closed;
}

static void look(struct supervisor *supervisor, int64_t left)
{
    int64_t reserve = supervisor->config.disk_reserve;
    bool closed = supervisor->disks_closed ? left < reserve * REOPEN_TIMES : left < reserve;

    if (closed != supervisor->disks_closed)
        log_warning("the host's file system of `%s` has %lld MiB left: disk images are %s",
                    supervisor->config.state_dir, (long long)left / 1048576,
                    closed ? "closed" : "open again");
    supervisor->disks_closed = closed;
    for (struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        set_closed(sandbox, closed);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct supervisor *supervisor = userdata;
    int64_t left = disk_left(supervisor);

    (void)usec;
    if (left >= 0)
        look(supervisor, left);
    bool near = left < supervisor->config.disk_reserve * NEAR_TIMES;
    sd_event_source_set_time_relative(source, near ? OFTEN_US : SELDOM_US);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* An earlier supervisor may have closed what was adopted. */
int disk_guard_start(struct supervisor *supervisor, struct error *err)
{
    for (struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        sandbox->disk_closed = true;
    look(supervisor, disk_left(supervisor));
    int r = sd_event_add_time_relative(supervisor->event, NULL, CLOCK_MONOTONIC, OFTEN_US, 0,
                                       on_time, supervisor);

    return r < 0 ? error_sys(err, r, "watching the room of the host's disk") : 0;
}
