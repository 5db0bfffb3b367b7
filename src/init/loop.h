/* The event loop of the init: level-triggered epoll, timers and deferred frees, single-threaded. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct watch {
    int fd;
    void (*handler)(struct watch *watch, uint32_t events);
    bool added;
};

/* Adds or changes; `events` = EPOLLIN | EPOLLOUT | ... (0 keeps it registered for errors only).
 * -errno. */
int loop_watch(struct watch *watch, uint32_t events);
/* Removes; does not close the descriptor. No handler of it runs afterwards, not even for events
 * already fetched. */
void loop_unwatch(struct watch *watch);

struct timer {
    int64_t deadline_ms; /* CLOCK_MONOTONIC; 0: not set */
    void (*handler)(struct timer *timer);
    struct timer *next, *previous;
};

/* (Re)arms to fire once after `delay_ms`. */
void timer_set(struct timer *timer, int64_t delay_ms);
void timer_cancel(struct timer *timer);

int loop_open(void);
/* Runs until loop_quit(). */
int loop_run(void);
void loop_quit(void);
