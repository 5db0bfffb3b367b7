/* Why a process ended: never more than is known.
 *
 * The kernel tells a parent the exit code or the signal, not the sender. What the init did itself
 * it remembers; an OOM kill shows in the counters of the control group; a call that the seccomp
 * program forbids is told by its listener (forbidden.h). Any other signal has an unknown sender. */
#pragma once

#include "init/counters.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cause_word {
    CAUSE_NONE, /* it runs */
    CAUSE_EXITED,
    CAUSE_SIGNAL,
    CAUSE_TIMEOUT,
    CAUSE_REQUEST,
    CAUSE_OOM,
    CAUSE_SECCOMP,
    CAUSE_SANDBOX,
};

/* A system call that the seccomp program kills for. */
struct forbidden_call {
    bool made;
    bool by_itself; /* else by a program that it started */
    int number;
    uint32_t arch; /* AUDIT_ARCH_* */
};

struct cause {
    enum cause_word word;
    int status;           /* of waitpid */
    uint64_t requested;   /* set of the signals that were sent on request, bit N-1 for N */
    bool timed_out;       /* we killed it for its time limit */
    bool sandbox_stopped; /* we stopped everything */
    int64_t timeout_ms;
    struct forbidden_call call;
    struct counters before, after;
    unsigned int limits_hit; /* bits of cause.c's table */
};

/* Before the process is started. timeout_ms 0: none. */
void cause_begin(struct cause *cause, int64_t timeout_ms);
/* A signal was sent to it because somebody asked for that. */
void cause_requested(struct cause *cause, int signal);
/* After waitpid. */
void cause_end(struct cause *cause, int status);

/* One sentence without a subject: "exited with code 1", "killed: out of memory (peak …)". */
void cause_describe(const struct cause *cause, char *ret_text, size_t size);

/* Adds cause, cause_text, cause_detail and limits_hit of protocol.h. */
void cause_add_to(const struct cause *cause, json_t *object);
