/* Why a sandbox is not running: a word for programs, a sentence for people, and what is known.
 * Never more than is known; the words and members are those of protocol.h. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct cgroup_stats;

struct sandbox_cause {
    const char *word; /* one of cause.c's table; NULL: none */
    char text[256];
    json_t *detail; /* object; NULL: empty */
};

#define CAUSE_REQUEST   "request"  /* sandbox.stop, sandbox.pause */
#define CAUSE_IDLE      "idle"     /* nobody used it: paused */
#define CAUSE_SHUTDOWN  "shutdown" /* the supervisor was told to end */
#define CAUSE_OOM       "oom"      /* its first process was killed for memory */
#define CAUSE_SIGNAL    "signal"   /* its first process was killed */
#define CAUSE_EXITED    "exited"   /* its first process ended by itself */
#define CAUSE_START     "start_failed"
#define CAUSE_DISK_FULL "disk_full" /* start_failed for want of space */
#define CAUSE_TIMEOUT   "timeout"   /* it did not start in time */
#define CAUSE_LOST      "lost"      /* it ended unseen, how is not known */
#define CAUSE_REBOOT    "reboot"    /* the machine was restarted */

void cause_clear(struct sandbox_cause *cause);

/* Replaces what was there. `detail` is stolen, may be NULL. The text is clipped. */
void cause_set(struct sandbox_cause *cause, const char *word, json_t *detail, const char *format,
               ...) __attribute__((format(printf, 4, 5)));

/* A start that failed at the step which the message names. */
void cause_set_start_error(struct sandbox_cause *cause, const struct error *err);

/* Its init was killed or ended: `code` and `status` as in siginfo_t, `seen_oom_kills` those that
 * were of other processes, `stats` of its group before that is removed. */
void cause_set_init_end(struct sandbox_cause *cause, int code, int status, int64_t seen_oom_kills,
                        const struct cgroup_stats *stats);

/* Nobody saw how it ended. */
void cause_set_lost(struct sandbox_cause *cause, const char *text,
                    const struct cgroup_stats *stats);

/* {"cause","cause_text","cause_detail"}, null without one; and back, from state.json. */
json_t *cause_to_json(const struct sandbox_cause *cause);
void cause_from_json(struct sandbox_cause *cause, const json_t *value);
