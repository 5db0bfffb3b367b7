/* What pages report (base/browser-report.h), from a request's body to the control thread, which
 * passes it on. All of it is hostile; what is too much is dropped. */
#pragma once

#include "base/error.h"
#include "proxy/host.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#define REPORTS_BODY_MAX   65536u /* bytes of a request's body */
#define REPORTS_A_BODY     50u
#define REPORTS_PER_SECOND 10u /* of one sandbox */
#define REPORTS_BURST      40u
#define REPORTS_QUEUED_MAX 256u /* of all sandboxes */
#define REPORTS_ASKED_MAX  16u  /* of them on their way to the supervisor */

struct report {
    struct report *next;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    uint16_t port;
    json_t *object;
};

/* Between the threads of the data path and the control thread. */
struct reports {
    pthread_mutex_t lock;
    struct report *first, *last;
    unsigned int n;
};

int reports_init(struct reports *reports);
void reports_free(struct reports *reports);
void report_free(struct report *report);

/* A body {"reports":[...]} as a list of reports in which every string is cut to its limit and holds
 * no control character but newline and tab. New reference; NULL with `err` set. */
json_t *reports_read(struct text body, struct error *err);

/* Takes one off the sandbox's allowance, if there is any left; `bucket` is the sandbox's own. */
bool reports_admit(_Atomic int64_t *bucket);
/* Whether there is none left. */
bool reports_exhausted(_Atomic int64_t *bucket);

/* False: the queue is full. `object` is borrowed. */
bool reports_put(struct reports *reports, const char *sandbox, uint16_t port, json_t *object);

/* The next one, which is the caller's; NULL: there is none. */
struct report *reports_take(struct reports *reports);
