/* What a sandbox sees of the machine's memory and CPUs: its limits, not the host.
 *
 * Programs size themselves by /proc/meminfo, /proc/cpuinfo, /proc/stat, /proc/loadavg,
 * /sys/devices/system/cpu/online and their CPU affinity (nproc, Node's os.cpus(),
 * os.availableParallelism() and os.totalmem(), V8's heap, free). The four files are covered by
 * read-only binds of files that the supervisor writes under RUN/sandboxes/ID/view and rewrites when
 * the limits change; a bind shows the new content at once. They tell totals: what is free is told
 * as what may be used, and the times of /proc/stat are zero (use sandbox.stats). The sandbox has
 * ceil(limits.cpu) CPUs, numbered from 0 in the files, and its processes are kept on as many of the
 * host's: those that the fewest sandboxes have. */
#pragma once

#include "supervisor/sandbox.h"
#include "supervisor/stage.h"

#define VIEWS STAGE_VIEWS

/* Where each is attached, relative to the sandbox's root. */
extern const char *const view_targets[VIEWS];

/* The CPUs that limits.cpu amounts to on a host with `host_cpus`: 1 .. host_cpus. */
unsigned int views_cpus(double cpu, unsigned int host_cpus);

/* /proc/meminfo for these limits; fresh memory, NULL when there is none. Always the same length. */
char *views_meminfo(int64_t memory, int64_t swap);

/* The first `cpus` processors of a /proc/cpuinfo, numbered from 0; fresh memory. */
char *views_cpuinfo(const char *host, unsigned int cpus);

/* Writes the files for `limits`. */
int views_write(const struct sandbox *sandbox, const struct limits *limits, struct error *err);

/* Detached read-only mounts of the files, in the order of view_targets. */
int views_open(const struct sandbox *sandbox, int ret_fds[VIEWS], struct error *err);

/* ---- cpus.c ---- */

/* Finds the CPUs that the supervisor may run on, which are those that it can give. */
int cpus_find(struct supervisor *supervisor, struct error *err);

/* Keeps a new sandbox's first process, and so all to come, on its CPUs. */
int cpus_assign(struct sandbox *sandbox, struct error *err);

/* Gives all threads of a running sandbox the CPUs that `limits` amount to. */
int cpus_reassign(struct sandbox *sandbox, const struct limits *limits, struct error *err);

/* Learns from its init on which CPUs an adopted sandbox is. */
void cpus_learn(struct sandbox *sandbox);
