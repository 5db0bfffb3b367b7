/* What the proxy counts, in memory that it shares with the API: a file of fixed size in the run
 * directory, opened by the supervisor, which hands it to the proxy to write and to the API to read
 * ("figures" of passed-fds.h). So counters outlive a restart of any of them, and nobody is asked
 * for a figure. Every counter is one word that is only added to: a writer that dies leaves no lock
 * and no half value. A reader takes none of it on trust. */
#pragma once

#include "base/error.h"
#include "base/id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FIGURES_SLOTS   1024u /* sandboxes; further ones share the first slot, which has no id */
#define FIGURES_CLASSES 6u    /* of statuses: 1 to 5; 0: none was sent */
#define FIGURES_BUCKETS 12u

/* Upper bounds of the latency buckets, in us; the last one has none. */
extern const uint32_t figures_bounds[FIGURES_BUCKETS - 1];

struct figures_slot {
    _Atomic uint32_t used;
    char id[SANDBOX_ID_LENGTH + 1];
    _Atomic uint64_t requests[FIGURES_CLASSES]; /* answered, by the first digit of the status */
    _Atomic uint64_t received, sent;            /* bytes from and to clients */
    _Atomic uint64_t connections;               /* requests and WebSockets begun */
    _Atomic int64_t open[2];                    /* of them now at work, by the parity of the era */
    _Atomic uint64_t latency[FIGURES_BUCKETS];  /* from a request sent to its response's head */
    _Atomic uint64_t latency_us;                /* their sum */
};

struct figures {
    _Atomic uint32_t era;     /* counts the proxies that have started */
    _Atomic uint32_t leaving; /* the era of one that still finishes its work; 0: none */
    struct figures_slot slots[FIGURES_SLOTS];
    _Atomic uint64_t log_lost; /* lines of the access log that were dropped */
};

/* Supervisor: makes or finds the file and gives it its size. A descriptor or a negative errno. */
int figures_create(int run_fd, struct error *err);
/* The same file for somebody who only reads. */
int figures_read_only(int run_fd, struct error *err);

/* Maps it; the descriptor stays the caller's. */
int figures_map(int fd, bool writable, struct figures **ret_figures, struct error *err);

/* Proxy, at its start: a new era, whose `open` begin at nought. */
uint32_t figures_begin(struct figures *figures);

/* The slot of a sandbox, made if need be; the shared one if all are taken. */
struct figures_slot *figures_slot(struct figures *figures, const char *id);
/* NULL if it has none. */
struct figures_slot *figures_find(struct figures *figures, const char *id);
/* The sandbox is no more, and nobody counts in its slot. The shared one stays. */
void figures_release(struct figures_slot *slot);

/* `open` of the proxies that live. Never negative. */
uint64_t figures_open(const struct figures *figures, const struct figures_slot *slot);

void figures_latency(struct figures_slot *slot, uint64_t us);

static inline void figures_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
