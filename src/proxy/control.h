/* The control thread (the program's main thread): the connection to the supervisor and those to the
 * inits of the sandboxes that requests came for. It alone writes the routes. */
#pragma once

#include "base/rpc.h"
#include "proxy/worker.h"

enum watch_kind { WATCH_SUPERVISOR, WATCH_LINK, WATCH_WAKE, WATCH_SIGNAL };

/* What an epoll event points to. */
struct watch {
    enum watch_kind kind;
    int epoll, fd;
    bool muted; /* not even input is watched */
};

int watch_add(struct watch *watch, int epoll, int fd, enum watch_kind kind);
void watch_set(struct watch *watch, bool output);

struct control {
    struct proxy *proxy;
    int epoll;
    struct watch supervisor_watch, wake_watch, signal_watch;
    struct rpc supervisor;
    bool connected;               /* a connection is there, perhaps before its hello was answered */
    bool up;                      /* hello was answered */
    bool ending;                  /* SIGTERM */
    int64_t gone_since, retry_at; /* ms */
    struct link *links;
    unsigned int in_flight;     /* calls to the supervisor */
    unsigned int reports_asked; /* likewise, of browsers' reports */
    unsigned int timed;         /* links that wait for a time */
    bool postponed;             /* links wait for `in_flight` to fall */
    unsigned int n_unknown;
};

int control_init(struct control *control, struct proxy *proxy, struct error *err);

/* Runs until SIGTERM or until the supervisor stays away; then 0 or a negative errno. */
int control_run(struct control *control, struct error *err);
void control_free(struct control *control);

/* confine.c: see base/confine.h. Before any worker is started. */
int proxy_confine(struct error *err);

/* A sandbox's part; link.c. */
struct link;

/* After anything that may let it go on. */
void link_refresh(struct link *link);
struct link *link_of(struct control *control, struct sandbox *sandbox);
void link_event(struct link *link);
/* The supervisor says so: the sandbox object of protocol.h, whose state may be "removed". */
void link_state(struct link *link, const json_t *object);
/* The supervisor is back: ask again about everything. */
void links_ask_all(struct control *control);
void links_refresh_all(struct control *control);
void links_tick(struct control *control);
void links_free(struct control *control);
