/* Theory of operation: see cause.h. The OOM counter is the sandbox's, not a process's: a SIGKILL
 * that nobody of us sent is an OOM kill if the counter holds a kill that is not accounted for yet.
 * Each such death accounts for one; what is left belongs to processes that are not our children,
 * and is accounted for once their death must have shown. */
#include "init/cause.h"

#include "init/forbidden.h"
#include "init/oom.h"
#include "init/process-io.h"

#include "base/cleanup.h"
#include "base/protocol.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

static const char *const words[] = {
    [CAUSE_EXITED] = "exited",   [CAUSE_SIGNAL] = "signal", [CAUSE_TIMEOUT] = "timeout",
    [CAUSE_REQUEST] = "request", [CAUSE_OOM] = "oom",       [CAUSE_SECCOMP] = "seccomp",
    [CAUSE_SANDBOX] = "sandbox",
};

/* Who sent the signal, as far as that can be known. */
static const char *const senders[] = {
    [CAUSE_SIGNAL] = "unknown", [CAUSE_TIMEOUT] = "init", [CAUSE_REQUEST] = "api",
    [CAUSE_OOM] = "kernel",     [CAUSE_SECCOMP] = "init", [CAUSE_SANDBOX] = "init",
};

/* limits_hit */

enum limit_bit { LIMIT_MEMORY, LIMIT_MEMORY_HIGH, LIMIT_PIDS, LIMIT_PLACES };

static const char *const counted_limits[] = {
    [LIMIT_MEMORY] = "memory", [LIMIT_MEMORY_HIGH] = "memory_high", [LIMIT_PIDS] = "pids"};

/* With less room than `full` bytes a file system counts as full: ext4 takes or refuses a write by
 * the folio, which is 2 MiB at most (PMD_ORDER), so a large write fails with so much left. */
static const struct {
    const char *path, *space, *inodes;
    unsigned int full;
} places[] = {{PROJECT_DIR, "disk", "inodes", 2048 * 1024},
              {"/tmp", "tmp", "tmp_inodes", 256 * 1024},
              {"/dev/shm", "shm", "shm_inodes", 256 * 1024}};

static bool rose(int64_t before, int64_t after)
{
    return before >= 0 && after > before;
}

static unsigned int full_places(void)
{
    unsigned int bits = 0;
    struct statvfs info;

    for (size_t i = 0; i < ELEMENTS(places); i++) {
        if (statvfs(places[i].path, &info) < 0)
            continue;
        if (info.f_blocks > 0 && info.f_bavail * info.f_frsize < places[i].full)
            bits |= 1u << (LIMIT_PLACES + 2 * i);
        if (info.f_files > 0 && info.f_favail == 0)
            bits |= 1u << (LIMIT_PLACES + 2 * i + 1);
    }
    return bits;
}

static unsigned int limits_of(const struct cause *cause)
{
    const struct counters *before = &cause->before, *after = &cause->after;

    return (unsigned int)rose(before->oom_kills, after->oom_kills) << LIMIT_MEMORY |
           (unsigned int)rose(before->memory_high, after->memory_high) << LIMIT_MEMORY_HIGH |
           (unsigned int)rose(before->pids_refused, after->pids_refused) << LIMIT_PIDS |
           full_places();
}

static const char *limit_name(size_t bit)
{
    if (bit < LIMIT_PLACES)
        return counted_limits[bit];
    size_t place = (bit - LIMIT_PLACES) / 2;
    return (bit - LIMIT_PLACES) % 2 ? places[place].inodes : places[place].space;
}

static json_t *limits_json(const struct cause *cause)
{
    json_t *list = json_array();

    for (size_t bit = 0; bit < LIMIT_PLACES + 2 * ELEMENTS(places); bit++)
        if (cause->limits_hit & 1u << bit)
            json_array_append_new(list, json_string(limit_name(bit)));
    return list;
}

/* Life and end */

void cause_begin(struct cause *cause, int64_t timeout_ms)
{
    *cause = (struct cause){.timeout_ms = timeout_ms};
    counters_read(&cause->before);
    oom_observe(&cause->before);
}

void cause_requested(struct cause *cause, int signal)
{
    if (signal > 0 && signal <= 64)
        cause->requested |= 1ull << (signal - 1);
}

static enum cause_word word_of(const struct cause *cause)
{
    int signal = WTERMSIG(cause->status);

    if (!WIFSIGNALED(cause->status))
        return CAUSE_EXITED;
    if (signal == SIGKILL && cause->call.made && cause->call.by_itself)
        return CAUSE_SECCOMP;
    if (signal == SIGKILL && cause->timed_out)
        return CAUSE_TIMEOUT;
    if (cause->requested & 1ull << (signal - 1))
        return CAUSE_REQUEST;
    if (signal == SIGKILL && oom_take_kill())
        return CAUSE_OOM;
    if (cause->sandbox_stopped && (signal == SIGTERM || signal == SIGKILL))
        return CAUSE_SANDBOX;
    return CAUSE_SIGNAL;
}

void cause_end(struct cause *cause, int status)
{
    cause->status = status;
    counters_read(&cause->after);
    oom_observe(&cause->after);
    cause->limits_hit = limits_of(cause);
    cause->word = word_of(cause);
}

/* For people and programs */

/* Whole MiB, unless that says nothing. */
static void size_text(int64_t bytes, char *ret_text, size_t size)
{
    if (bytes < 0)
        snprintf(ret_text, size, "unknown");
    else if (bytes < 1048576)
        snprintf(ret_text, size, "%lld KiB", (long long)bytes / 1024);
    else
        snprintf(ret_text, size, "%lld MiB", (long long)bytes / 1048576);
}

static void signal_text(int signal, char *ret_text, size_t size)
{
    const char *name = signal_name(signal);

    if (name)
        snprintf(ret_text, size, "%s", name);
    else
        snprintf(ret_text, size, "signal %d", signal);
}

static void describe_oom(const struct cause *cause, char *ret_text, size_t size)
{
    char peak[32], limit[32];

    size_text(cause->after.memory_peak, peak, sizeof(peak));
    size_text(cause->after.memory_limit, limit, sizeof(limit));
    snprintf(ret_text, size, "killed: out of memory (peak %s of %s)", peak, limit);
}

static void describe_word(const struct cause *cause, char *ret_text, size_t size)
{
    char signal[24], call[96];

    signal_text(WTERMSIG(cause->status), signal, sizeof(signal));
    forbidden_describe(&cause->call, call, sizeof(call));
    switch (cause->word) {
    case CAUSE_NONE:
        snprintf(ret_text, size, "is running");
        break;
    case CAUSE_EXITED:
        snprintf(ret_text, size, "exited with code %d%s", WEXITSTATUS(cause->status),
                 cause->timed_out ? " as its time limit was over" : "");
        break;
    case CAUSE_SIGNAL:
        snprintf(ret_text, size, "killed by %s", signal);
        break;
    case CAUSE_TIMEOUT:
        snprintf(ret_text, size, "killed: its time limit of %lld ms was over",
                 (long long)cause->timeout_ms);
        break;
    case CAUSE_REQUEST:
        snprintf(ret_text, size, "killed by %s on request", signal);
        break;
    case CAUSE_OOM:
        describe_oom(cause, ret_text, size);
        break;
    case CAUSE_SECCOMP:
        snprintf(ret_text, size, "killed: forbidden system call %s", call);
        break;
    case CAUSE_SANDBOX:
        snprintf(ret_text, size, "killed by %s: the sandbox was stopped", signal);
        break;
    }
}

static void append(char *text, size_t size, const char *between, const char *more)
{
    size_t length = strlen(text);

    snprintf(text + length, size - length, "%s%s", between, more);
}

void cause_describe(const struct cause *cause, char *ret_text, size_t size)
{
    const char *between = "; limits that were hit: ";
    char call[96];

    describe_word(cause, ret_text, size);
    if (cause->call.made && cause->word != CAUSE_SECCOMP) {
        forbidden_describe(&cause->call, call, sizeof(call));
        append(ret_text, size, "; a program of it was killed for the forbidden system call ", call);
    }
    for (size_t bit = 0; bit < LIMIT_PLACES + 2 * ELEMENTS(places); bit++)
        if ((cause->limits_hit & 1u << bit) && !(bit == LIMIT_MEMORY && cause->word == CAUSE_OOM)) {
            append(ret_text, size, between, limit_name(bit));
            between = ", ";
        }
}

static json_t *detail_json(const struct cause *cause)
{
    json_t *detail = json_object();
    bool memory = cause->limits_hit & 1u << LIMIT_MEMORY || cause->word == CAUSE_OOM;
    char signal[24];

    if (WIFSIGNALED(cause->status)) {
        signal_text(WTERMSIG(cause->status), signal, sizeof(signal));
        json_object_set_new(detail, "signal", json_string(signal));
        json_object_set_new(detail, "sender", json_string(senders[cause->word]));
    }
    if (cause->timed_out)
        json_object_set_new(detail, "timeout_ms", json_integer((json_int_t)cause->timeout_ms));
    if (memory && cause->after.memory_peak >= 0)
        json_object_set_new(detail, "memory_peak_bytes",
                            json_integer((json_int_t)cause->after.memory_peak));
    if (memory && cause->after.memory_limit >= 0)
        json_object_set_new(detail, "memory_limit_bytes",
                            json_integer((json_int_t)cause->after.memory_limit));
    if (cause->limits_hit & 1u << LIMIT_PIDS && cause->after.pids_limit >= 0)
        json_object_set_new(detail, "pids_limit",
                            json_integer((json_int_t)cause->after.pids_limit));
    if (cause->call.made)
        forbidden_add_to(&cause->call, detail);
    return detail;
}

void cause_add_to(const struct cause *cause, json_t *object)
{
    char text[256];

    if (cause->word == CAUSE_NONE) {
        json_object_update_new(object, json_pack("{s:n, s:n, s:n, s:[]}", "cause", "cause_text",
                                                 "cause_detail", "limits_hit"));
        return;
    }
    cause_describe(cause, text, sizeof(text));
    json_object_set_new(object, "cause", json_string(words[cause->word]));
    json_object_set_new(object, "cause_text", json_string(text));
    json_object_set_new(object, "cause_detail", detail_json(cause));
    json_object_set_new(object, "limits_hit", limits_json(cause));
}
