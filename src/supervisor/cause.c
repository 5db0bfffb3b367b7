/* Theory of operation: see cause.h. Inside its namespace nobody can send SIGKILL to an init, so one
 * that dies of it was killed by the kernel for memory, which the group's counter shows, or from the
 * host. OOM kills that the init had told of before were of other processes. */
#include "supervisor/cause.h"

#include "supervisor/cgroup.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

static const char *const words[] = {
    CAUSE_REQUEST,   CAUSE_SHUTDOWN, CAUSE_OOM,  CAUSE_SIGNAL, CAUSE_EXITED, CAUSE_START,
    CAUSE_DISK_FULL, CAUSE_TIMEOUT,  CAUSE_LOST, CAUSE_REBOOT, CAUSE_IDLE,
};

void cause_clear(struct sandbox_cause *cause)
{
    json_decref(cause->detail);
    *cause = (struct sandbox_cause){.word = NULL};
}

/* A character that the clipping cut is taken off: JSON knows no halves. */
static void trim(char *text)
{
    size_t length = strlen(text);
    json_t *probe;

    while (length > 0 && !(probe = json_string(text)))
        text[--length] = '\0';
    if (length > 0)
        json_decref(probe);
}

void cause_set(struct sandbox_cause *cause, const char *word, json_t *detail, const char *format,
               ...)
{
    va_list arguments;

    cause_clear(cause);
    cause->word = word;
    cause->detail = detail;
    va_start(arguments, format);
    vsnprintf(cause->text, sizeof(cause->text), format, arguments);
    va_end(arguments);
    trim(cause->text);
}

void cause_set_start_error(struct sandbox_cause *cause, const struct error *err)
{
    bool full = err->err == ENOSPC || err->err == EDQUOT;

    cause_set(cause, full ? CAUSE_DISK_FULL : CAUSE_START, json_pack("{s:s}", "code", err->code),
              "%s", err->message);
}

static json_t *memory_detail(json_t *detail, const struct cgroup_stats *stats)
{
    const struct {
        const char *name;
        int64_t value;
    } members[] = {{"oom_kills", stats->oom_kills},
                   {"memory_peak_bytes", stats->memory_peak_bytes},
                   {"memory_limit_bytes", stats->memory_limit_bytes}};

    for (size_t i = 0; i < ELEMENTS(members); i++)
        if (members[i].value >= 0)
            json_object_set_new(detail, members[i].name,
                                json_integer((json_int_t)members[i].value));
    return detail;
}

static void set_oom(struct sandbox_cause *cause, const struct cgroup_stats *stats)
{
    cause_set(
        cause, CAUSE_OOM,
        memory_detail(json_pack("{s:s, s:s}", "signal", "SIGKILL", "sender", "kernel"), stats),
        "killed: out of memory (peak %lld MiB of %lld MiB)",
        (long long)stats->memory_peak_bytes / 1048576,
        (long long)stats->memory_limit_bytes / 1048576);
}

void cause_set_init_end(struct sandbox_cause *cause, int code, int status, int64_t seen_oom_kills,
                        const struct cgroup_stats *stats)
{
    const char *name = sigabbrev_np(status);

    if (code == CLD_EXITED)
        cause_set(cause, CAUSE_EXITED, json_pack("{s:i}", "exit_code", status),
                  "its first process exited with code %d", status);
    else if (status == SIGKILL && stats->oom_kills > seen_oom_kills)
        set_oom(cause, stats);
    else if (status == SIGKILL && stats->oom_kills >= 0)
        cause_set(cause, CAUSE_SIGNAL,
                  json_pack("{s:s, s:s}", "signal", "SIGKILL", "sender", "host"),
                  "its first process was killed by SIGKILL from the host");
    else
        cause_set(cause, CAUSE_SIGNAL,
                  json_pack("{s:s+, s:s}", "signal", "SIG", name ? name : "?", "sender", "unknown"),
                  "its first process was killed by SIG%s", name ? name : "?");
}

void cause_set_lost(struct sandbox_cause *cause, const char *text, const struct cgroup_stats *stats)
{
    if (stats->oom_kills > 0)
        cause_set(cause, CAUSE_LOST, memory_detail(json_object(), stats),
                  "%s; since its start the kernel had killed %lld of its processes for memory",
                  text, (long long)stats->oom_kills);
    else
        cause_set(cause, CAUSE_LOST, NULL, "%s", text);
}

json_t *cause_to_json(const struct sandbox_cause *cause)
{
    if (!cause->word)
        return json_pack("{s:n, s:n, s:n}", "cause", "cause_text", "cause_detail");
    return json_pack("{s:s, s:s, s:o}", "cause", cause->word, "cause_text", cause->text,
                     "cause_detail", cause->detail ? json_incref(cause->detail) : json_object());
}

void cause_from_json(struct sandbox_cause *cause, const json_t *value)
{
    const char *word = json_string_value(json_object_get(value, "cause"));
    const char *text = json_string_value(json_object_get(value, "cause_text"));
    json_t *detail = json_object_get(value, "cause_detail");

    cause_clear(cause);
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (str_equal(word, words[i]))
            cause_set(cause, words[i], json_is_object(detail) ? json_incref(detail) : NULL, "%s",
                      text ? text : "");
}
