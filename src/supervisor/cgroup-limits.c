/* Theory of operation. One table says, for each limit, which file of which controller holds it on
 * v1 and on v2 and how the figure is written there. A change writes the files whose text differs.
 * v1 keeps memory and memory+swap apart and refuses the first above the second, so growing goes
 * through the table backwards. */
#include "supervisor/cgroup-limits.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CPU_PERIOD_US    100000
#define CPU_QUOTA_MIN_US 1000 /* the kernel's least (sched-bwc.rst) */

static void bytes_or_max(int64_t bytes, bool v2, char *ret_text, size_t size)
{
    if (bytes > 0)
        snprintf(ret_text, size, "%lld", (long long)bytes);
    else
        snprintf(ret_text, size, "%s", v2 ? "max" : "-1");
}

static void format_memory(const struct limits *limits, bool v2, const char *device, char *ret_text,
                          size_t size)
{
    (void)device;
    bytes_or_max(limits->memory, v2, ret_text, size);
}

static void format_high(const struct limits *limits, bool v2, const char *device, char *ret_text,
                        size_t size)
{
    (void)device;
    bytes_or_max(limits->memory_high, v2, ret_text, size);
}

/* v1 counts memory and swap together. */
static void format_swap(const struct limits *limits, bool v2, const char *device, char *ret_text,
                        size_t size)
{
    (void)device;
    snprintf(ret_text, size, "%lld", (long long)(limits->swap + (v2 ? 0 : limits->memory)));
}

/* One hog shall not take the dev server and the init down with it. */
static void format_oom_group(const struct limits *limits, bool v2, const char *device,
                             char *ret_text, size_t size)
{
    (void)limits;
    (void)v2;
    (void)device;
    snprintf(ret_text, size, "0");
}

static void format_cpu(const struct limits *limits, bool v2, const char *device, char *ret_text,
                       size_t size)
{
    long long quota = (long long)(limits->cpu * CPU_PERIOD_US + 0.5);

    (void)device;
    if (quota < CPU_QUOTA_MIN_US)
        quota = CPU_QUOTA_MIN_US;
    if (v2)
        snprintf(ret_text, size, "%lld %d", quota, CPU_PERIOD_US);
    else
        snprintf(ret_text, size, "%lld", quota);
}

/* 100 of v2 and 1024 of v1 are the usual share of either; 2 is v1's least. */
static void format_weight(const struct limits *limits, bool v2, const char *device, char *ret_text,
                          size_t size)
{
    long long shares = (long long)limits->cpu_weight * 1024 / 100;

    (void)device;
    snprintf(ret_text, size, "%lld",
             v2 ? (long long)limits->cpu_weight : (shares < 2 ? 2 : shares));
}

static void format_pids(const struct limits *limits, bool v2, const char *device, char *ret_text,
                        size_t size)
{
    (void)v2;
    (void)device;
    snprintf(ret_text, size, "%lld", (long long)limits->pids);
}

/* v2 has both directions in one file, each line changes what it names; v1 takes 0 for no limit. */
static void format_io(const char *key, int64_t rate, bool v2, const char *device, char *ret_text,
                      size_t size)
{
    char number[24];

    bytes_or_max(rate, true, number, sizeof(number));
    if (v2)
        snprintf(ret_text, size, "%s %s=%s", device, key, number);
    else
        snprintf(ret_text, size, "%s %lld", device, (long long)rate);
}

static void format_read(const struct limits *limits, bool v2, const char *device, char *ret_text,
                        size_t size)
{
    format_io("rbps", limits->io_read_bps, v2, device, ret_text, size);
}

static void format_write(const struct limits *limits, bool v2, const char *device, char *ret_text,
                         size_t size)
{
    format_io("wbps", limits->io_write_bps, v2, device, ret_text, size);
}

const struct cgroup_setting cgroup_settings[CGROUP_SETTINGS] = {
    {"limits.memory", CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", format_memory},
    {"limits.swap", CGROUP_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap.max", format_swap},
    {"limits.memory_high", CGROUP_MEMORY, "memory.soft_limit_in_bytes", "memory.high", format_high},
    {"limits.memory", CGROUP_MEMORY, NULL, "memory.oom.group", format_oom_group},
    {"limits.cpu", CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", format_cpu},
    {"limits.cpu_weight", CGROUP_CPU, "cpu.shares", "cpu.weight", format_weight},
    {"limits.pids", CGROUP_PIDS, "pids.max", "pids.max", format_pids},
    {"limits.io_read_bps", CGROUP_IO, "blkio.throttle.read_bps_device", "io.max", format_read},
    {"limits.io_write_bps", CGROUP_IO, "blkio.throttle.write_bps_device", "io.max", format_write},
};

static int refused(const struct cgroup_tree *tree, const char *id,
                   const struct cgroup_setting *setting, const char *text, int r, struct error *err)
{
    struct cgroup_stats stats;

    cgroup_stats(tree, id, &stats);
    if (r == -EBUSY && setting->controller == CGROUP_MEMORY)
        error_set_field(err, setting->field,
                        "%lld bytes are in use and cannot be reclaimed down to %s: %s",
                        (long long)stats.memory_bytes, text, strerror(-r));
    else
        error_set_field(err, setting->field, "the kernel refuses `%s`: %s", text, strerror(-r));
    return -EINVAL;
}

/* What must hold is refused where the kernel cannot hold it; what is only 0 ("none") need not be
 * there. */
static int without_file(const struct cgroup_setting *setting, const struct limits *limits,
                        struct error *err)
{
    bool wanted = (setting->format == format_high && limits->memory_high > 0) ||
                  (setting->format == format_read && limits->io_read_bps > 0) ||
                  (setting->format == format_write && limits->io_write_bps > 0);

    return wanted ? error_set_field(err, setting->field,
                                    "this kernel offers no such limit for the state directory "
                                    "(`auracode doctor` lists the controllers)")
                  : 0;
}

static int change(const struct cgroup_tree *tree, const char *id,
                  const struct cgroup_setting *setting, const struct limits *from,
                  const struct limits *to, struct error *err)
{
    char path[1024], before[96] = "", text[96];
    bool v2 = tree->v2[setting->controller];
    bool no_device = setting->controller == CGROUP_IO && !tree->io_device[0];

    if (no_device || cgroup_file(tree, setting->controller, id, setting->v1_file, setting->v2_file,
                                 path, sizeof(path)) < 0)
        return without_file(setting, to, err);
    if (from)
        setting->format(from, v2, tree->io_device, before, sizeof(before));
    else if (setting->controller == CGROUP_IO) /* a new group has none */
        setting->format(&(struct limits){0}, v2, tree->io_device, before, sizeof(before));
    setting->format(to, v2, tree->io_device, text, sizeof(text));
    if (str_equal(before, text))
        return 0;
    int r = file_write_existing(AT_FDCWD, path, text, NULL);
    return r < 0 ? refused(tree, id, setting, text, r, err) : 0;
}

int cgroup_set_limits(const struct cgroup_tree *tree, const char *id, const struct limits *from,
                      const struct limits *to, struct error *err)
{
    bool backwards = from && to->memory > from->memory;
    int r = 0;

    for (size_t i = 0; r == 0 && i < CGROUP_SETTINGS; i++) {
        size_t at = backwards ? CGROUP_SETTINGS - 1 - i : i;
        r = change(tree, id, &cgroup_settings[at], from, to, err);
    }
    return r;
}
