/* Timeouts of one thread. There are few durations and very many timers, so each duration is a list
 * in order of expiry: arming appends, cancelling unlinks, the next expiry is the smallest of the
 * list heads. All constant time and without memory of its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum timer_class {
    TIMER_HEAD,
    TIMER_IDLE,
    TIMER_CONNECT,
    TIMER_SUPERVISOR,
    TIMER_START, /* [proxy] wait_ms */
    TIMER_RETRY,
    TIMER_STALLED,
    TIMER_UPSTREAM, /* [proxy] upstream_timeout_ms */
    TIMER_HALF_CLOSED,
    TIMER_ABANDONED,
    TIMER_TUNNEL,
    TIMER_LINGER,
    TIMER_UPSTREAM_IDLE,
    TIMER_CLASSES
};

struct timer {
    struct timer *next, *previous; /* NULL while not armed */
    int64_t expires;
    uint8_t class;
};

struct timers {
    struct timer lists[TIMER_CLASSES]; /* heads of rings */
    int64_t duration[TIMER_CLASSES];   /* ms */
    int64_t now;                       /* ms of CLOCK_MONOTONIC, as of the last timers_update */
};

void timers_init(struct timers *timers, int64_t start_wait_ms);
void timers_update(struct timers *timers);

/* (Re)arms to expire the duration of the class from now. */
void timer_arm(struct timers *timers, struct timer *timer, enum timer_class class);
void timer_cancel(struct timer *timer);

/* An expired timer, cancelled, or NULL. */
struct timer *timers_expired(struct timers *timers);

/* Milliseconds until the next expiry for epoll_wait; -1: none. */
int timers_wait(const struct timers *timers);
