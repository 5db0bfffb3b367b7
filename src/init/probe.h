/* Does a port of the loopback interface answer HTTP? Tried on 127.0.0.1, then on ::1. */
#pragma once

#include "init/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PROBE_TIMEOUT_MS 5000

/* 1: begins as an HTTP/1 answer does, 0: too short to tell, -EPROTO: it is something else. */
int probe_judge(const char *text, size_t length);

struct probe {
    struct watch watch; /* fd -1 while idle; initialise with PROBE_IDLE */
    struct timer timer;
    uint16_t port;
    sa_family_t family;
    size_t sent, received;
    char reply[8];
    /* Called once from the loop; `address`: "127.0.0.1", "::1", or NULL when none answered. */
    void (*done)(struct probe *probe, const char *address);
};

#define PROBE_IDLE ((struct probe){.watch = {.fd = -1}})

static inline bool probe_running(const struct probe *probe)
{
    return probe->timer.deadline_ms != 0;
}

/* Nothing may be running. `done` is never called from inside. */
void probe_start(struct probe *probe, uint16_t port,
                 void (*done)(struct probe *probe, const char *address));
void probe_cancel(struct probe *probe);
