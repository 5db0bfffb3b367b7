/* Theory of operation. One table of figures: for each, the controller, the file and the key in it
 * (or none, for a file that is one number) on v1 and on v2, and what the kernel's unit must be
 * multiplied with. A figure that the kernel does not have is -1. Both times of the CPU that v1
 * gives are in clock ticks, everything else there in ns. */
#include "supervisor/cgroup.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

struct source {
    const char *file, *key; /* key NULL: the file is one number */
    int64_t factor;
};

#define TICK_NS 10000000 /* of USER_HZ, which is 100 in every ABI of Linux that we build for */

struct figure {
    const char *name;
    size_t offset;
    enum controller_kind v1_controller, v2_controller;
    struct source v1, v2;
};

#define FIGURE(name) #name, offsetof(struct cgroup_stats, name)
#define ONE(c)       CGROUP_##c, CGROUP_##c
static const struct figure figures[] = {
    {FIGURE(memory_bytes),
     ONE(MEMORY),
     {"memory.usage_in_bytes", NULL, 1},
     {"memory.current", NULL, 1}},
    {FIGURE(memory_peak_bytes),
     ONE(MEMORY),
     {"memory.max_usage_in_bytes", NULL, 1},
     {"memory.peak", NULL, 1}},
    {FIGURE(memory_limit_bytes),
     ONE(MEMORY),
     {"memory.limit_in_bytes", NULL, 1},
     {"memory.max", NULL, 1}},
    {FIGURE(swap_bytes),
     ONE(MEMORY),
     {"memory.stat", "total_swap", 1},
     {"memory.swap.current", NULL, 1}},
    {FIGURE(cpu_ns),
     CGROUP_CPUACCT,
     CGROUP_CPU,
     {"cpuacct.usage", NULL, 1},
     {"cpu.stat", "usage_usec", 1000}},
    {FIGURE(cpu_user_ns),
     CGROUP_CPUACCT,
     CGROUP_CPU,
     {"cpuacct.stat", "user", TICK_NS},
     {"cpu.stat", "user_usec", 1000}},
    {FIGURE(cpu_system_ns),
     CGROUP_CPUACCT,
     CGROUP_CPU,
     {"cpuacct.stat", "system", TICK_NS},
     {"cpu.stat", "system_usec", 1000}},
    {FIGURE(cpu_periods), ONE(CPU), {"cpu.stat", "nr_periods", 1}, {"cpu.stat", "nr_periods", 1}},
    {FIGURE(cpu_throttled_periods),
     ONE(CPU),
     {"cpu.stat", "nr_throttled", 1},
     {"cpu.stat", "nr_throttled", 1}},
    {FIGURE(cpu_throttled_ns),
     ONE(CPU),
     {"cpu.stat", "throttled_time", 1},
     {"cpu.stat", "throttled_usec", 1000}},
    {FIGURE(pids), ONE(PIDS), {"pids.current", NULL, 1}, {"pids.current", NULL, 1}},
    {FIGURE(pids_limit), ONE(PIDS), {"pids.max", NULL, 1}, {"pids.max", NULL, 1}},
    {FIGURE(pids_refused), ONE(PIDS), {"pids.events", "max", 1}, {"pids.events", "max", 1}},
    {FIGURE(oom_kills),
     ONE(MEMORY),
     {"memory.oom_control", "oom_kill", 1},
     {"memory.events", "oom_kill", 1}},
    {FIGURE(io_read_bytes),
     ONE(IO),
     {"blkio.throttle.io_service_bytes", " Read ", 1},
     {"io.stat", " rbytes=", 1}},
    {FIGURE(io_write_bytes),
     ONE(IO),
     {"blkio.throttle.io_service_bytes", " Write ", 1},
     {"io.stat", " wbytes=", 1}},
};

static int64_t number(const char *text)
{
    char digits[24];
    uint64_t value;

    snprintf(digits, sizeof(digits), "%.*s", (int)strspn(text, "0123456789"), text);
    return parse_u64(digits, 0, INT64_MAX, &value) < 0 ? -1 : (int64_t)value;
}

/* Of "key value" lines. */
static int64_t keyed(const char *text, const char *key)
{
    size_t length = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            return number(line + length + 1);
    }
    return -1;
}

/* A loop device's line is of IO that its file's device counts again. */
static bool is_loop(const char *text, const char *at)
{
    while (at > text && at[-1] != '\n')
        at--;
    return str_starts(at, "7:"); /* Documentation/admin-guide/devices.txt */
}

/* One number a device, after the mark. A device that was never used has no line. */
static int64_t summed(const char *text, const char *mark)
{
    int64_t sum = 0;

    for (const char *at = strstr(text, mark); at; at = strstr(at, mark)) {
        bool counts = !is_loop(text, at);
        at += strlen(mark);
        int64_t value = number(at);
        sum += counts && value > 0 ? value : 0;
    }
    return sum;
}

static int64_t read_figure(const struct cgroup_tree *tree, const char *id,
                           const struct figure *figure)
{
    cleanup_free char *text = NULL;
    char path[1024];
    bool v2 = tree->v2[figure->v2_controller];
    const struct source *source = v2 ? &figure->v2 : &figure->v1;
    enum controller_kind controller = v2 ? figure->v2_controller : figure->v1_controller;

    if (cgroup_file(tree, controller, id, source->file, source->file, path, sizeof(path)) < 0 ||
        file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
        return -1;
    int64_t value = !source->key            ? number(text)
                    : source->key[0] == ' ' ? summed(text, source->key)
                                            : keyed(text, source->key);
    return value < 0 ? -1 : value * source->factor;
}

void cgroup_stats(const struct cgroup_tree *tree, const char *id, struct cgroup_stats *ret_stats)
{
    for (size_t i = 0; i < ELEMENTS(figures); i++)
        *(int64_t *)((char *)ret_stats + figures[i].offset) = read_figure(tree, id, &figures[i]);
}

json_t *cgroup_stats_to_json(const struct cgroup_stats *stats)
{
    cleanup_json json_t *object = json_object();

    for (size_t i = 0; i < ELEMENTS(figures); i++) {
        int64_t value = *(const int64_t *)((const char *)stats + figures[i].offset);
        if (json_object_set_new(object, figures[i].name, json_integer(value)) < 0)
            return NULL;
    }
    return TAKE_PTR(object);
}
