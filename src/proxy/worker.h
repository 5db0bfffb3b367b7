/* One thread of the data path: an epoll set, its clients, upstream connections, timers and buffers.
 * Threads share the routes (route.h) and the listeners, nothing else. */
#pragma once

#include "base/config.h"
#include "base/networks.h"
#include "base/preview-token.h"
#include "proxy/head.h"
#include "proxy/peer.h"
#include "proxy/report.h"
#include "proxy/route.h"
#include "tls/session.h"

#include <arpa/inet.h>
#include <pthread.h>

struct client;
struct upstream;
struct site;

#define SITE_BUCKETS 1024u
#define MAIL_MAX     256u
#define GIVEN_MAX    64u

/* A connection that another thread has accepted for this one. */
struct given {
    int fd;
    bool tls;
    char address[INET6_ADDRSTRLEN];
};

/* What all threads share. */
struct proxy {
    struct config config;
    struct text domain;
    struct text frame_origins;
    struct networks trusted; /* proxies in front of us */
    struct routes routes;
    struct reports reports;
    struct tls_context tls;
    struct preview_key preview_key;
    bool redirects;   /* requests in clear are sent to https */
    bool bridges;     /* [proxy] bridge */
    char tls_port[8]; /* ":7443", or "" for 443 */
    struct worker *workers;
    unsigned int n_workers;
    int listeners[LISTENERS_MAX];
    bool listens_tls[LISTENERS_MAX];
    unsigned int n_listeners;
    struct figures *figures; /* NULL: nothing is counted */
    struct access_log *log;  /* NULL: there is none */
    uint32_t era;            /* of figures */
    atomic_bool draining;
    atomic_uint n_ended; /* threads that are done */
    /* Clients of all threads, and how many there may be; `full`: a thread has stopped accepting. */
    atomic_uint n_clients;
    atomic_uint clients_max;
    atomic_bool full;
};

struct worker {
    struct proxy *proxy;
    pthread_t thread;
    int epoll;
    struct peer wake;
    struct peer listeners[LISTENERS_MAX];
    bool listening;
    struct timers timers;
    struct buffer_pool buffers;
    struct pipe_pool pipes;
    struct site *sites[SITE_BUCKETS];
    struct client *clients; /* all */
    struct client *again;   /* have more to do without a new event */
    struct client *paused;  /* wait for their sandbox's bandwidth */
    int64_t resume_at;      /* ms, when they are looked at */
    int64_t token_expires;  /* the first of a client's, seconds since 1970; 0: none (admit.h) */
    struct client *dead_clients, *free_clients;
    struct upstream *dead_upstreams, *free_upstreams;
    unsigned int n_free_clients, n_free_upstreams;
    struct log_feed *feed; /* NULL: there is no access log */
    struct record *free_records;
    unsigned int n_free_records;
    const struct client *head_owner; /* whose request `head` holds, as long as it is not reused */
    struct head head, response;
    int64_t drain_until, drain_idle_at; /* ms, 0: serving, or (the second) they were closed */
    /* Clients, those on their way in `given` included; other threads read it to share the load. */
    atomic_uint n_clients;
    /* mail from the control thread: sandboxes that changed; from other threads: connections */
    pthread_mutex_t mail_lock;
    struct sandbox *mail[MAIL_MAX];
    unsigned int n_mail;
    bool mail_lost; /* too many: look at all */
    struct given given[GIVEN_MAX];
    unsigned int n_given;
};

int worker_init(struct worker *worker, struct proxy *proxy, struct error *err);
int worker_start(struct worker *worker, struct error *err);
void worker_free(struct worker *worker);

/* What its thread does again and again: waits up to `most_ms` and handles what there is. */
void worker_turn(struct worker *worker, int most_ms);

/* From the control thread: this sandbox changed / look at `draining`. */
void worker_tell(struct worker *worker, struct sandbox *sandbox);
void worker_wake(struct worker *worker);

/* A thread hands another one the connection that it has accepted. False: no room for it. */
bool worker_give(struct worker *worker, const struct given *given);

/* Runs the client once more before the next wait. */
void worker_again(struct worker *worker, struct client *client);

/* Runs the client again in a while, when its sandbox may have bandwidth again. */
void worker_pause(struct worker *worker, struct client *client);

/* Starts or stops accepting, by `listening` and the number of clients. */
void worker_listen(struct worker *worker);

/* How many clients this process can bear, as its limit of descriptors allows. */
unsigned int clients_limit(void);
bool proxy_has_room(struct proxy *proxy);
