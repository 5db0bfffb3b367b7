/* A sandbox, as the resolver knows it: the two sockets that were made inside of it, what it may
 * ask for, and what it is asking. The socket itself says which sandbox asks. */
#pragma once

#include "resolver/cache.h"
#include "resolver/control.h"

#include "base/id.h"

#define QUERIES_MAX 64u   /* of one sandbox at a time */
#define STREAMS_MAX 16u   /* TCP connections of one sandbox */
#define RATE        200.0 /* questions a second of one sandbox */
#define BURST       400.0

struct query;
struct stream;

struct box {
    struct box *next;
    struct control *control;
    char id[SANDBOX_ID_LENGTH + 1];
    int64_t generation;
    bool any;        /* every name may be asked for */
    json_t *domains; /* patterns that may, else */
    int udp, tcp;
    sd_event_source *udp_source, *tcp_source;
    struct query *queries;
    unsigned int n_queries;
    struct stream *streams;
    unsigned int n_streams;
    double tokens; /* of the rate */
    int64_t tokens_at;
    struct cache cache;
    int64_t asked, refused;
    bool dirty; /* the two are to be told */
    bool seen;  /* in the present listing */
    bool again; /* a supervisor has to be told of open addresses once more */
};

struct box *box_find(struct control *control, const char *id);

/* Takes the sockets. */
int box_new(struct control *control, const char *id, int udp, int tcp, struct box **ret_box);
/* What it may ask for, from egress.get. */
void box_update(struct box *box, const json_t *answer);
/* Whether a rule of its means the name. */
bool box_may_ask(const struct box *box, const char *name);
/* One more question; false: it asks too much. */
bool box_admit(struct box *box);
void box_free(struct box *box);
