/* Theory of operation: see counters.h. */
#include "supervisor/counters.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static const struct {
    enum controller_kind controller;
    const char *v1, *v2;
} files[COUNTER_FILES] = {
    [COUNTER_MEMORY_EVENTS] = {CGROUP_MEMORY, "memory.oom_control", "memory.events"},
    [COUNTER_MEMORY_PEAK] = {CGROUP_MEMORY, "memory.max_usage_in_bytes", "memory.peak"},
    [COUNTER_MEMORY_LIMIT] = {CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max"},
    [COUNTER_PIDS_EVENTS] = {CGROUP_PIDS, "pids.events", "pids.events"},
    [COUNTER_PIDS_LIMIT] = {CGROUP_PIDS, "pids.max", "pids.max"},
};

static int open_file(const struct cgroup_tree *tree, const char *id, enum counter_file file)
{
    enum controller_kind controller = files[file].controller;
    char path[1024];
    int n = snprintf(path, sizeof(path), "%s/%s/%s/%s", tree->mount[controller], tree->name, id,
                     tree->v2[controller] ? files[file].v2 : files[file].v1);
    int fd = -1;

    if (tree->mount[controller][0] && n > 0 && (size_t)n < sizeof(path))
        fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int counters_open(const struct cgroup_tree *tree, const char *id, int ret_fds[COUNTER_FILES],
                  struct error *err)
{
    for (int i = 0; i < COUNTER_FILES; i++) {
        ret_fds[i] = open_file(tree, id, (enum counter_file)i);
        if (ret_fds[i] < 0) {
            int r = error_sys(err, errno, "open `/dev/null`");
            while (i > 0)
                close_and_forget(&ret_fds[--i]);
            return r;
        }
    }
    return 0;
}
