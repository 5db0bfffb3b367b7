/* Theory of operation: see views.h. A file is written over in place, since a bind shows an inode:
 * its length is kept (meminfo) or cut after the write, so that a reader may meet old and new lines
 * side by side, never half a line of meminfo. */
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

const char *const view_targets[VIEWS] = {
    "proc/meminfo", "proc/cpuinfo", "proc/stat", "sys/devices/system/cpu/online", "proc/loadavg",
};

static const char *const view_files[VIEWS] = {"meminfo", "cpuinfo", "stat", "online", "loadavg"};

unsigned int views_cpus(double cpu, unsigned int host_cpus)
{
    unsigned int whole = (unsigned int)cpu;

    whole += (double)whole < cpu;
    return whole < 1 ? 1 : whole > host_cpus ? host_cpus : whole;
}

char *views_meminfo(int64_t memory, int64_t swap)
{
    long long total = (long long)memory / 1024, swap_total = (long long)swap / 1024;

    return str_format("MemTotal:       %8lld kB\nMemFree:        %8lld kB\n"
                      "MemAvailable:   %8lld kB\nBuffers:        %8d kB\n"
                      "Cached:         %8d kB\nSwapCached:     %8d kB\n"
                      "Active:         %8d kB\nInactive:       %8d kB\n"
                      "SwapTotal:      %8lld kB\nSwapFree:       %8lld kB\n"
                      "Dirty:          %8d kB\nWriteback:      %8d kB\n"
                      "AnonPages:      %8d kB\nMapped:         %8d kB\n"
                      "Shmem:          %8d kB\nSlab:           %8d kB\n"
                      "SReclaimable:   %8d kB\nSUnreclaim:     %8d kB\n",
                      total, total, total, 0, 0, 0, 0, 0, swap_total, swap_total, 0, 0, 0, 0, 0, 0,
                      0, 0);
}

/* Blocks are separated by an empty line, and each says "processor\t: N" first. */
char *views_cpuinfo(const char *host, unsigned int cpus)
{
    char *text = strdup("");

    for (unsigned int cpu = 0; text && cpu < cpus && str_starts(host, "processor"); cpu++) {
        const char *rest = strchr(host, '\n');
        const char *end = strstr(host, "\n\n");
        if (!rest)
            break;
        int length = end ? (int)(end + 2 - rest) : (int)strlen(rest);
        char *longer = str_format("%sprocessor\t: %u%.*s", text, cpu, length, rest);
        free(text);
        text = longer;
        host = rest + length;
    }
    return text;
}

static char *format_stat(unsigned int cpus)
{
    static const char zeros[] = "0 0 0 0 0 0 0 0 0 0";
    struct timespec now, up;
    char *text = str_format("cpu  %s\n", zeros);

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    for (unsigned int cpu = 0; text && cpu < cpus; cpu++) {
        char *longer = str_format("%scpu%u %s\n", text, cpu, zeros);
        free(text);
        text = longer;
    }
    char *whole = text ? str_format("%sintr 0\nctxt 0\nbtime %lld\nprocesses 0\nprocs_running 1\n"
                                    "procs_blocked 0\nsoftirq 0\n",
                                    text, (long long)(now.tv_sec - up.tv_sec))
                       : NULL;
    free(text);
    return whole;
}

static char *format_online(unsigned int cpus)
{
    return cpus == 1 ? strdup("0\n") : str_format("0-%u\n", cpus - 1);
}

static int write_view(int dir_fd, const char *name, const char *text, struct error *err)
{
    size_t length = strlen(text);
    cleanup_close int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

    if (fd < 0)
        return error_sys(err, errno, "open view `%s`", name);
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(fd, text + done, length - done, (off_t)done);
        if (n < 0)
            return error_sys(err, errno, "write view `%s`", name);
        done += (size_t)n;
    }
    if (ftruncate(fd, (off_t)length) < 0 || fchmod(fd, 0644) < 0)
        return error_sys(err, errno, "write view `%s`", name);
    return 0;
}

static int open_views(const struct sandbox *sandbox, struct error *err)
{
    int r = dir_make(sandbox->run_dir_fd, "view", 0700, err);

    if (r < 0)
        return r;
    int fd = openat(sandbox->run_dir_fd, "view", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? error_sys(err, errno, "open `view` of sandbox %s", sandbox->id) : fd;
}

static int64_t least(int64_t a, uint64_t b)
{
    return b < (uint64_t)a ? (int64_t)b : a;
}

int views_write(const struct sandbox *sandbox, const struct limits *limits, struct error *err)
{
    struct sysinfo host;
    unsigned int cpus = views_cpus(limits->cpu, sandbox->supervisor->n_cpus);
    char *texts[VIEWS] = {NULL};
    cleanup_close int dir = open_views(sandbox, err);
    int r = dir < 0 ? dir : 0;

    if (r < 0)
        return r;
    sysinfo(&host);
    texts[0] = views_meminfo(least(limits->memory, (uint64_t)host.totalram * host.mem_unit),
                             least(limits->swap, (uint64_t)host.totalswap * host.mem_unit));
    texts[1] = views_cpuinfo(sandbox->supervisor->cpuinfo, cpus);
    texts[2] = format_stat(cpus);
    texts[3] = format_online(cpus);
    texts[4] = strdup("0.00 0.00 0.00 1/1 1\n"); /* the host's tells what its other tenants do */
    for (size_t i = 0; i < VIEWS; i++) {
        if (r == 0)
            r = texts[i] ? write_view(dir, view_files[i], texts[i], err) : error_oom(err);
        free(texts[i]);
    }
    return r;
}

int views_open(const struct sandbox *sandbox, int ret_fds[VIEWS], struct error *err)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                               MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    cleanup_close int dir = open_views(sandbox, err);

    for (size_t i = 0; dir >= 0 && i < VIEWS; i++) {
        ret_fds[i] =
            (int)syscall(SYS_open_tree, dir, view_files[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (ret_fds[i] < 0 || syscall(SYS_mount_setattr, ret_fds[i], "", AT_EMPTY_PATH, &read_only,
                                      sizeof(read_only)) < 0)
            return error_sys(err, errno, "read-only mount of view `%s`", view_files[i]);
    }
    return dir < 0 ? dir : 0;
}
