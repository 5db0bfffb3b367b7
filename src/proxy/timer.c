/* Theory of operation: see timer.h. */
#include "proxy/timer.h"

#include "base/str.h"
#include "proxy/limits.h"

#include <limits.h>

void timers_update(struct timers *timers)
{
    timers->now = now_monotonic_ms();
}

void timers_init(struct timers *timers, int64_t start_wait_ms)
{
    static const int64_t durations[TIMER_CLASSES] = {
        [TIMER_CONNECT] = CONNECT_TIMEOUT_MS,     [TIMER_SUPERVISOR] = SUPERVISOR_WAIT_MS,
        [TIMER_RETRY] = REFUSED_RETRY_MS,         [TIMER_STALLED] = STALLED_MS,
        [TIMER_HALF_CLOSED] = HALF_CLOSED_MS,     [TIMER_ABANDONED] = ABANDONED_MS,
        [TIMER_TUNNEL] = TUNNEL_IDLE_MS,          [TIMER_LINGER] = LINGER_MS,
        [TIMER_UPSTREAM_IDLE] = UPSTREAM_IDLE_MS,
    };

    for (size_t i = 0; i < TIMER_CLASSES; i++) {
        struct timer *list = &timers->lists[i];
        list->next = list->previous = list;
        timers->duration[i] = i == TIMER_START ? start_wait_ms : durations[i];
    }
    timers_update(timers);
}

void timer_cancel(struct timer *timer)
{
    if (!timer->next)
        return;
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->next = timer->previous = NULL;
}

void timer_arm(struct timers *timers, struct timer *timer, enum timer_class class)
{
    struct timer *list = &timers->lists[class];

    timer_cancel(timer);
    timer->class = (uint8_t) class;
    timer->expires = timers->now + timers->duration[class];
    timer->next = list;
    timer->previous = list->previous;
    list->previous->next = timer;
    list->previous = timer;
}

struct timer *timers_expired(struct timers *timers)
{
    for (size_t i = 0; i < TIMER_CLASSES; i++) {
        struct timer *first = timers->lists[i].next;
        if (first != &timers->lists[i] && first->expires <= timers->now) {
            timer_cancel(first);
            return first;
        }
    }
    return NULL;
}

int timers_wait(const struct timers *timers)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < TIMER_CLASSES; i++) {
        const struct timer *first = timers->lists[i].next;
        if (first != &timers->lists[i] && first->expires < next)
            next = first->expires;
    }
    if (next == INT64_MAX)
        return -1;
    int64_t left = next - timers->now;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}
