/* Theory of operation: programs.json in the run folder tells the next supervisor which programs
 * run, and what they were started from. One that goes on is watched like our own. If another
 * executable or configuration would be started today, it is asked to end as soon as it has handed
 * back its listening sockets, so that its successor refuses no connection; one that does not come
 * to do that is killed. The configuration is held as a digest: programs.json shall hold no secret.
 */
#include "supervisor/program-internal.h"

#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define HANDBACK_MS 10000u

/* FNV-1a (draft-eastlake-fnv): tells a change, and is no secret-keeper beyond the file's mode. */
static uint64_t digest(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

void program_made_of(const struct program *program, char ret_text[MADE_OF_SIZE])
{
    cleanup_json json_t *config = config_export(&program->supervisor->config, program->audience);
    cleanup_free char *text = config ? json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    cleanup_free char *path = str_format("%s/%s", program->supervisor->libexec_dir, program->name);
    struct stat status;

    ret_text[0] = '\0';
    if (text && path && stat(path, &status) == 0)
        snprintf(ret_text, MADE_OF_SIZE, "%jx:%ju:%jd.%09ld:%016" PRIx64, (uintmax_t)status.st_dev,
                 (uintmax_t)status.st_ino, (intmax_t)status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                 digest(text));
}

int programs_save(struct supervisor *supervisor, struct error *err)
{
    cleanup_json json_t *file = json_object();
    uint64_t ticks;

    for (int i = 0; file && i < PROGRAMS; i++) {
        struct program *program = &supervisor->programs[i];
        if (program->pidfd >= 0 && process_start_time(program->pid, &ticks) == 0)
            json_object_set_new(file, program->name,
                                json_pack("{s:i, s:I, s:s}", "pid", (int)program->pid, "start_time",
                                          (json_int_t)ticks, "made_of", program->made_of));
    }
    return file ? file_write_json(supervisor->run_fd, "programs.json", file, 0600, err)
                : error_oom(err);
}

static int on_handback_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct program *program = userdata;

    (void)source;
    (void)usec;
    log_warning("%s (pid %d) is outdated and does not leave: killed", program->name,
                (int)program->pid);
    pidfd_send_signal(program->pidfd, SIGKILL, NULL, 0);
    return 0;
}

static void compare(struct program *program, const char *made_of)
{
    char today[MADE_OF_SIZE];

    program_made_of(program, today);
    snprintf(program->made_of, sizeof(program->made_of), "%s", made_of ? made_of : "");
    program->outdated = today[0] && !str_equal(today, program->made_of);
    if (program->outdated)
        sd_event_add_time_relative(program->supervisor->event, &program->outdated_source,
                                   CLOCK_MONOTONIC, HANDBACK_MS * 1000u, 0, on_handback_time,
                                   program);
}

bool program_keep(struct program *program, const json_t *file)
{
    json_t *entry = json_object_get(file, program->name);
    uint64_t ticks;

    program->pid = (pid_t)json_integer_value(json_object_get(entry, "pid"));
    if (program->pid <= 0 || process_start_time(program->pid, &ticks) < 0 ||
        (json_int_t)ticks != json_integer_value(json_object_get(entry, "start_time")))
        return false;
    program->started_ms = now_monotonic_ms();
    if (program_watch(program, NULL) < 0)
        return false;
    compare(program, json_string_value(json_object_get(entry, "made_of")));
    log_info("%s (pid %d) goes on%s", program->name, (int)program->pid,
             program->outdated ? " until its successor serves" : "");
    return true;
}

void program_settle(struct program *program)
{
    if (!program->outdated || program->pidfd < 0)
        return;
    program->outdated = false;
    pidfd_send_signal(program->pidfd, SIGTERM, NULL, 0);
}
