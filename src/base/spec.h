/* The parts of a sandbox's specification that REST, the supervisor and the configuration share, as
 * field tables, so that a limit is checked by the same bounds wherever it enters. */
#pragma once

#include "base/egress.h"
#include "base/fields.h"

/* What a sandbox may use. 0 means "none" or "derived", where a comment says so; the ranges are ours
 * unless a source is named. Sources: [v2] Documentation/admin-guide/cgroup-v2.rst, [v1]
 * Documentation/admin-guide/cgroup-v1/, [bw] Documentation/scheduler/sched-bwc.rst of the kernel.
 */
struct limits {
    int64_t memory;       /* bytes, 64 MiB .. 1 TiB; above it the kernel kills ([v2] memory.max) */
    int64_t memory_high;  /* bytes, 16 MiB .. 1 TiB, 0: none; above it processes are slowed and
                           * reclaimed from ([v2] memory.high; v1: the soft limit, which reclaims
                           * only while the host is short of memory) */
    int64_t swap;         /* bytes beyond `memory`, 0 .. 1 TiB */
    double cpu;           /* cores, 0.01 .. 1024; 0.01 is the kernel's least quota, 1 ms, of our
                           * period of 100 ms ([bw]). The tables bound it to 0..1024. */
    int64_t cpu_weight;   /* 1 .. 10000, the share under contention, 100 is usual ([v2] cpu.weight;
                           * v1: cpu.shares, where 1024 is usual) */
    int64_t pids;         /* processes and threads, 16 .. 1048576 */
    int64_t disk;         /* bytes, 64 MiB .. 16 TiB */
    int64_t inodes;       /* files and folders, 1024 .. 2^32, 0: one per 16 KiB of disk, which is
                           * mke2fs's own ratio (mke2fs.conf(5), inode_ratio) */
    int64_t io_read_bps;  /* bytes a second of the state directory's device, 64 KiB .. 1 TiB, 0: no
                           * limit ([v2] io.max, [v1] blkio.throttle) */
    int64_t io_write_bps; /* likewise */
    int64_t tmp;          /* bytes of /tmp, 1 MiB .. 1 TiB, 0: half of the memory, as tmpfs(5) has
                           * it; the memory limit counts them too */
    int64_t shm;          /* bytes of /dev/shm, likewise, 0: a quarter of the memory */
    int64_t log;          /* bytes kept of each process's output, 256 KiB .. 64 MiB */
};

#define LIMIT_MEMORY_MIN      ((int64_t)64 << 20)
#define LIMIT_MEMORY_MAX      ((int64_t)1 << 40)
#define LIMIT_MEMORY_HIGH_MIN ((int64_t)16 << 20)
#define LIMIT_PIDS_MIN        16
#define LIMIT_PIDS_MAX        1048576
#define LIMIT_CPU_MIN         0.01
#define LIMIT_CPU_MAX         1024
#define LIMIT_CPU_WEIGHT_MIN  1
#define LIMIT_CPU_WEIGHT_MAX  10000
#define LIMIT_DISK_MIN        ((int64_t)64 << 20)
#define LIMIT_DISK_MAX        ((int64_t)16 << 40)
#define LIMIT_INODES_MIN      1024
#define LIMIT_INODES_MAX      ((int64_t)1 << 32)
#define LIMIT_IO_MIN          ((int64_t)64 << 10)
#define LIMIT_IO_MAX          ((int64_t)1 << 40)
#define LIMIT_TMPFS_MIN       ((int64_t)1 << 20)
#define LIMIT_LOG_MIN         ((int64_t)256 << 10)
#define LIMIT_LOG_MAX         ((int64_t)64 << 20)

#define LIMITS_FIELDS 13
extern const struct field limits_fields[LIMITS_FIELDS];

/* Members of POST /v1/sandboxes that describe the sandbox and of the supervisor's sandbox.create.
 */
struct sandbox_spec {
    const char *template;
    const char *name;
    json_t *egress; /* egress.h */
    const char *policy;
    const char *owner;
    json_t *env;    /* strings, at most 128, 16 KiB together */
    json_t *labels; /* strings, at most 32 */
    json_t *limits;
    const char *access; /* one of access_choices; NULL: [sandbox] access */
};

/* Who may open previews: "public": whoever knows the URL, "private": who shows a token
 * (base/preview-token.h). NULL-terminated. */
extern const char *const access_choices[3];

/* Of a sandbox's access_epoch, which a token carries: the last before it begins anew. */
#define ACCESS_EPOCH_MAX ((int64_t)UINT32_MAX)

extern const struct field sandbox_spec_fields[9];

/* Checks what a table cannot: names of templates and policies ([a-z0-9._-], no leading dot),
 * labels, environment names, and decodes spec->limits over *limits, which holds the defaults. */
int sandbox_spec_check(const struct sandbox_spec *spec, struct limits *limits, struct error *err);

/* Names ([A-Za-z_][A-Za-z0-9_]*, at most 128 bytes) and size (16 KiB together) of an environment;
 * NULL is fine. */
int env_check(json_t *env, struct error *err);

/* Names ([a-z0-9._-], as of templates) and size (4 KiB together) of labels; NULL is fine. */
int labels_check(json_t *labels, struct error *err);

/* Inodes of a tmpfs of that many bytes: one a page, and some for what is small. */
#define TMPFS_INODES(bytes) ((bytes) / 4096 + 1024)

/* Decodes `value` (NULL: nothing) over *limits and checks the result; *limits is touched on success
 * only. */
int limits_decode(json_t *value, struct limits *limits, struct error *err);

/* What the field tables cannot say: the least values of limits for which 0 means "none", and of
 * cpu. `prefix` goes before the field's name in the error. */
int limits_check(const struct limits *limits, const char *prefix, struct error *err);

/* The same limits with what is derived (0) replaced by its figure. */
struct limits limits_resolved(const struct limits *limits);

/* {"memory":..,"cpu":.., ...}: every member of the struct under its name. */
json_t *limits_to_json(const struct limits *limits);

/* A template or policy name: 1 to 64 of [a-z0-9._-], beginning with a letter or digit. */
bool resource_name_valid(const char *name);

/* A write to `path` inside a sandbox failed with ENOSPC or EDQUOT: code "disk_full", the message
 * names the limits that bound it there. */
int error_disk_full(struct error *err, int errnum, const char *path);
