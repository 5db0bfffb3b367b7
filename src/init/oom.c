/* Theory of operation. A kill that the counter shows is open until it is put down to somebody. A
 * child that dies of an unexplained SIGKILL while one is open has been its victim. The victim may
 * be no child of ours, though: a moment after the counter rose, once no child is on its way out any
 * more, what is still open is closed, so that it is not taken for the reason of a later end. */
#include "init/oom.h"

#include "init/boot.h"
#include "init/loop.h"
#include "init/process-internal.h"

#include "base/fd.h"
#include "base/protocol.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* The kernel counts first and sends the signal then, some microseconds later. */
#define SETTLE_MS 20

#define STAT_FLAGS   9 /* proc(5), /proc/PID/stat */
#define STAT_PENDING 31
#define EXITING      0x4u /* PF_EXITING */
#define KILL_PENDING (1u << (9 - 1))

static struct {
    int64_t seen, closed;
    struct timer settle;
    struct watch watch;
} oom;

/* Killed, and not collected yet. */
static bool is_dying(pid_t pid)
{
    cleanup_free char *text = NULL;
    char path[32], *save = NULL;
    bool dying = false;
    uint64_t value;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
        return true;
    char *field = strrchr(text, ')'); /* the name may hold anything */
    field = field ? strtok_r(field + 1, " ", &save) : NULL;
    for (int number = 3; field && number <= STAT_PENDING; number++) {
        if (number == 3)
            dying = *field == 'Z' || *field == 'X';
        else if (number == STAT_FLAGS && parse_u64(field, 0, UINT64_MAX, &value) == 0)
            dying = dying || value & EXITING;
        else if (number == STAT_PENDING && parse_u64(field, 0, UINT64_MAX, &value) == 0)
            dying = dying || value & KILL_PENDING;
        field = strtok_r(NULL, " ", &save);
    }
    return dying;
}

static void on_settle(struct timer *timer)
{
    for (const struct process *process = process_next(NULL); process;
         process = process_next((struct process *)process))
        if (process_running(process) && is_dying(process_pid(process))) {
            timer_set(timer, SETTLE_MS);
            return;
        }
    oom.closed = oom.seen;
}

void oom_observe(const struct counters *counters)
{
    if (counters->oom_kills <= oom.seen)
        return;
    oom.seen = counters->oom_kills;
    oom.settle.handler = on_settle;
    timer_set(&oom.settle, SETTLE_MS);
    conn_broadcast(ROLE_SUPERVISOR, json_pack("{s:s, s:I}", "event", "memory.oom_kills", "count",
                                              (json_int_t)oom.seen));
}

bool oom_take_kill(void)
{
    if (oom.closed >= oom.seen)
        return false;
    oom.closed++;
    return true;
}

/* Reading the file is what takes the notification off it. */
static void on_notified(struct watch *watch, uint32_t events)
{
    struct counters counters;

    (void)watch;
    (void)events;
    counters_read(&counters);
    oom_observe(&counters);
}

void oom_init(void)
{
    struct counters counters;

    counters_read(&counters);
    oom.watch = (struct watch){.fd = BOOT_FD_COUNTERS + BOOT_MEMORY_EVENTS, .handler = on_notified};
    if (counters.memory_high >= 0) /* v1 has no such line and no notification */
        loop_watch(&oom.watch, EPOLLPRI);
}
