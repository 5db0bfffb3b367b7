/* Theory of operation: see views.h. Affinity is inherited, so it is set once on the first process;
 * a change walks the threads of the sandbox's leaf until a pass finds none that is not as it shall
 * be, for a thread may be born from an old one meanwhile. It is a courtesy, not a wall: a process
 * may set its own affinity, and what holds is the quota of the cpu controller. */
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#define PASSES      8
#define CPUINFO_MAX ((size_t)4 << 20)
#define THREADS_MAX ((size_t)16 << 20) /* bytes of cgroup.threads */

/* How many other sandboxes are kept on a CPU. */
static unsigned int tenants(const struct sandbox *sandbox, int cpu)
{
    unsigned int count = 0;

    for (struct sandbox *other = sandbox->supervisor->sandboxes; other; other = other->next)
        if (other != sandbox && other->pidfd >= 0 && CPU_ISSET(cpu, &other->cpus))
            count++;
    return count;
}

static int least_used(const struct sandbox *sandbox, const cpu_set_t *taken)
{
    int best = -1;
    unsigned int best_count = 0;

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &sandbox->supervisor->host_cpus) || CPU_ISSET(cpu, taken))
            continue;
        unsigned int count = tenants(sandbox, cpu);
        if (best < 0 || count < best_count) {
            best = cpu;
            best_count = count;
        }
    }
    return best;
}

static cpu_set_t choose(const struct sandbox *sandbox, const struct limits *limits)
{
    unsigned int count = views_cpus(limits->cpu, sandbox->supervisor->n_cpus);
    cpu_set_t chosen;

    if ((unsigned int)CPU_COUNT(&sandbox->cpus) == count)
        return sandbox->cpus;
    CPU_ZERO(&chosen);
    for (int cpu; count > 0 && (cpu = least_used(sandbox, &chosen)) >= 0; count--)
        CPU_SET(cpu, &chosen);
    return chosen;
}

int cpus_find(struct supervisor *supervisor, struct error *err)
{
    if (sched_getaffinity(0, sizeof(supervisor->host_cpus), &supervisor->host_cpus) < 0)
        return error_sys(err, errno, "sched_getaffinity");
    supervisor->n_cpus = (unsigned int)CPU_COUNT(&supervisor->host_cpus);
    return file_read(AT_FDCWD, "/proc/cpuinfo", CPUINFO_MAX, &supervisor->cpuinfo, NULL, err);
}

int cpus_assign(struct sandbox *sandbox, struct error *err)
{
    CPU_ZERO(&sandbox->cpus);
    sandbox->cpus = choose(sandbox, &sandbox->limits);
    if (sched_setaffinity(sandbox->init_pid, sizeof(sandbox->cpus), &sandbox->cpus) < 0)
        return error_sys(err, errno, "sched_setaffinity for sandbox %s", sandbox->id);
    return 0;
}

void cpus_learn(struct sandbox *sandbox)
{
    if (sched_getaffinity(sandbox->init_pid, sizeof(sandbox->cpus), &sandbox->cpus) < 0)
        CPU_ZERO(&sandbox->cpus);
}

/* Returns how many threads had to be changed. */
static int set_all(const struct sandbox *sandbox, const cpu_set_t *cpus, struct error *err)
{
    cleanup_free char *text = NULL;
    char path[1024], file[40], *save = NULL;
    const struct cgroup_tree *tree = &sandbox->supervisor->cgroups;
    cpu_set_t now;
    uint64_t tid;
    int changed = 0;

    snprintf(file, sizeof(file), "g%u/cgroup.threads", sandbox->generation);
    cgroup_path(tree->v2_mount, tree, sandbox->id, file, path, sizeof(path));
    int r = file_read(AT_FDCWD, path, THREADS_MAX, &text, NULL, err);
    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (parse_u64(line, 1, INT32_MAX, &tid) < 0 ||
            sched_getaffinity((pid_t)tid, sizeof(now), &now) < 0 || CPU_EQUAL(&now, cpus))
            continue;
        if (sched_setaffinity((pid_t)tid, sizeof(*cpus), cpus) == 0)
            changed++;
        else if (errno != ESRCH)
            return error_sys(err, errno, "sched_setaffinity in sandbox %s", sandbox->id);
    }
    return changed;
}

int cpus_reassign(struct sandbox *sandbox, const struct limits *limits, struct error *err)
{
    cpu_set_t cpus = choose(sandbox, limits);
    int r = 1;

    if (CPU_EQUAL(&cpus, &sandbox->cpus))
        return 0;
    for (int pass = 0; pass < PASSES && r > 0; pass++)
        r = set_all(sandbox, &cpus, err);
    if (r < 0)
        return r;
    sandbox->cpus = cpus;
    return 0;
}
