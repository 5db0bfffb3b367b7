/* What is known about sandboxes, shared by all threads. The control thread alone changes it. A
 * request reads two 64-bit words, `view` and `access`, without a lock; what only pages show lies
 * behind a mutex.
 */
#pragma once

#include "base/id.h"
#include "proxy/limits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum route_state {
    ROUTE_ASKING,   /* the supervisor was not heard yet */
    ROUTE_UNKNOWN,  /* there is no such sandbox */
    ROUTE_CREATING, /* it is being made */
    ROUTE_STOPPED,  /* stopping, stopped or failed */
    ROUTE_LINKING,  /* it runs; its init was not heard yet */
    ROUTE_RUNNING,
    ROUTE_ASLEEP, /* paused since nobody used it: a request wakes it */
    ROUTE_PAUSED, /* by somebody */
};

enum service_state { SERVICE_STOPPED, SERVICE_STARTING, SERVICE_READY, SERVICE_CRASHED };

struct view {
    enum route_state state;
    enum service_state service;
    bool auto_restart;
    bool inet6;     /* the service listens on ::1 */
    bool path_form; /* the service serves below /p/ID/PORT, not at its root */
    uint16_t port;  /* of the service; 0: not known */
    uint32_t generation;
};

/* Who may open it. */
struct access {
    bool is_private;
    uint32_t epoch; /* of tokens */
};

/* For pages and the status document. */
struct detail {
    char cause[512];
    char lines[8192]; /* the service's last lines, each ended by a newline */
    uint16_t ports[PORTS_KEPT_MAX];
    size_t n_ports;
};

struct stock {
    int inet[STOCK_ROOM], inet6[STOCK_ROOM];
    unsigned int n_inet, n_inet6;
    uint32_t generation;
};

struct sandbox {
    char id[SANDBOX_ID_LENGTH + 1];
    struct sandbox *next; /* in its bucket */
    atomic_uint refs;
    _Atomic uint64_t view;
    _Atomic uint64_t access; /* known whenever the state is none of ASKING and UNKNOWN */
    pthread_mutex_t lock;    /* detail and stock */
    struct detail detail;
    struct stock stock;
    struct figures_slot *_Atomic figures;    /* NULL: not looked for yet */
    _Atomic uint16_t found[PORTS_FOUND_MAX]; /* ports that took a connection; 0: none */
    atomic_uint found_next;
    atomic_uint clients;           /* requests and tunnels at work, of all threads */
    _Atomic int64_t paid_until;    /* ns of CLOCK_MONOTONIC: quota.c */
    _Atomic int64_t reports_until; /* likewise: report.c */
    atomic_bool asked;             /* is in the queue of the control thread */
    atomic_bool wanted;            /* sleeps, and is to be woken */
    struct sandbox *queue_next;
    struct link *link; /* the control thread's own */
};

#define ROUTE_BUCKETS 4096u

struct routes {
    pthread_mutex_t lock;
    struct sandbox *buckets[ROUTE_BUCKETS];
    struct sandbox *queue;
    int wake; /* eventfd of the control thread */
};

int routes_init(struct routes *routes);
/* When no other thread runs any more. */
void routes_free(struct routes *routes);

/* The sandbox of that (valid) id with one more reference, known or not; NULL: out of memory. A new
 * one is in state ROUTE_ASKING and queued for the control thread. */
struct sandbox *sandbox_get(struct routes *routes, const char *id);
struct sandbox *sandbox_find(struct routes *routes, const char *id); /* NULL: not in the table */
struct sandbox *sandbox_ref(struct sandbox *sandbox);
void sandbox_unref(struct sandbox *sandbox);

/* Takes it out of the table; references keep it alive. */
void sandbox_forget(struct routes *routes, struct sandbox *sandbox);

/* Has the control thread look at it: sockets are short, or nothing is known yet. */
void sandbox_ask(struct routes *routes, struct sandbox *sandbox);

/* Has it woken: its state is ROUTE_ASLEEP. */
void sandbox_wake(struct routes *routes, struct sandbox *sandbox);

/* For the control thread: the next sandbox asked about, with its reference; NULL: none. */
struct sandbox *routes_asked(struct routes *routes);

/* Ports other than the service's that took a connection lately: one that then refuses is taken for
 * one that restarts, until it has been away for too long. */
bool sandbox_port_found(const struct sandbox *sandbox, uint16_t port);
void sandbox_find_port(struct sandbox *sandbox, uint16_t port);
void sandbox_lose_port(struct sandbox *sandbox, uint16_t port);

struct view sandbox_view(const struct sandbox *sandbox);
void sandbox_set_view(struct sandbox *sandbox, const struct view *view);

struct access sandbox_access(const struct sandbox *sandbox);
uint64_t sandbox_access_word(const struct sandbox *sandbox);
/* True: it is another than before. */
bool sandbox_set_access(struct sandbox *sandbox, const struct access *access);
