/* The connection to the supervisor: which sandboxes there are, what each may ask for, whom to ask;
 * and the program's state as a whole. */
#pragma once

#include "resolver/upstream.h"

#include "base/config.h"
#include "base/rpc.h"

#include <systemd/sd-event.h>

struct box;

struct control {
    struct config config;
    sd_event *event;
    struct rpc supervisor;
    sd_event_source *source, *retry, *count_timer;
    int64_t gone_since; /* ms; 0: connected */
    int64_t servers_at; /* when the servers were asked for last */
    struct upstream upstream;
    struct box *boxes;
};

int control_init(struct control *control, struct error *err);
void control_free(struct control *control);

/* A box has counted something: it is told a little later. */
void control_counts_changed(struct control *control);

/* confine.c */
int resolver_confine(struct error *err);
