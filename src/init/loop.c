/* Theory of operation: see loop.h. Events are fetched in batches; a watch that is removed while its
 * batch is being handled is also struck out of the batch, so its owner may be freed at once. Timers
 * are a list ordered by deadline: there are few, and only the first is ever looked at. */
#include "init/loop.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>

static struct {
    int epoll_fd;
    bool quit;
    struct epoll_event batch[64];
    int batch_count;
    struct timer *timers;
} loop = {.epoll_fd = -1};

int loop_watch(struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int operation = watch->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (epoll_ctl(loop.epoll_fd, operation, watch->fd, &event) < 0)
        return -errno;
    watch->added = true;
    return 0;
}

void loop_unwatch(struct watch *watch)
{
    if (!watch->added)
        return;
    epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->added = false;
    for (int i = 0; i < loop.batch_count; i++)
        if (loop.batch[i].data.ptr == watch)
            loop.batch[i].data.ptr = NULL;
}

void timer_cancel(struct timer *timer)
{
    if (timer->deadline_ms == 0)
        return;
    if (timer->previous)
        timer->previous->next = timer->next;
    else
        loop.timers = timer->next;
    if (timer->next)
        timer->next->previous = timer->previous;
    timer->next = timer->previous = NULL;
    timer->deadline_ms = 0;
}

void timer_set(struct timer *timer, int64_t delay_ms)
{
    struct timer **place = &loop.timers, *previous = NULL;

    timer_cancel(timer);
    timer->deadline_ms = now_monotonic_ms() + (delay_ms > 0 ? delay_ms : 0);
    for (; *place && (*place)->deadline_ms <= timer->deadline_ms; place = &(*place)->next)
        previous = *place;
    timer->next = *place;
    timer->previous = previous;
    if (timer->next)
        timer->next->previous = timer;
    *place = timer;
}

int loop_open(void)
{
    loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return loop.epoll_fd < 0 ? -errno : 0;
}

static int next_timeout(void)
{
    if (!loop.timers)
        return -1;
    int64_t left = loop.timers->deadline_ms - now_monotonic_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void run_timers(void)
{
    int64_t now = now_monotonic_ms();

    while (loop.timers && loop.timers->deadline_ms <= now) {
        struct timer *timer = loop.timers;
        timer_cancel(timer);
        timer->handler(timer);
    }
}

static void run_batch(void)
{
    for (int i = 0; i < loop.batch_count; i++) {
        struct watch *watch = loop.batch[i].data.ptr;
        if (watch)
            watch->handler(watch, loop.batch[i].events);
    }
    loop.batch_count = 0;
}

int loop_run(void)
{
    loop.quit = false;
    while (!loop.quit) {
        int n = epoll_wait(loop.epoll_fd, loop.batch, ELEMENTS(loop.batch), next_timeout());
        if (n < 0 && errno != EINTR)
            return -errno;
        loop.batch_count = n > 0 ? n : 0;
        run_batch();
        run_timers();
    }
    return 0;
}

void loop_quit(void)
{
    loop.quit = true;
}
