/* The parts of a sandbox's specification that REST, the supervisor and the configuration share, as
 * field tables, so that a limit is checked by the same bounds wherever it enters. */
#pragma once

#include "base/fields.h"

struct limits {
    int64_t memory; /* bytes, 64 MiB .. 1 TiB */
    double cpu;     /* cores, 0.01 .. 1024; the tables bound it to 0..1024 */
    int64_t pids;   /* processes and threads, 16 .. 1048576 */
    int64_t disk;   /* bytes, 64 MiB .. 16 TiB */
};

#define LIMIT_MEMORY_MIN ((int64_t)64 << 20)
#define LIMIT_MEMORY_MAX ((int64_t)1 << 40)
#define LIMIT_PIDS_MIN   16
#define LIMIT_PIDS_MAX   1048576
#define LIMIT_CPU_MIN    0.01
#define LIMIT_CPU_MAX    1024
#define LIMIT_DISK_MIN   ((int64_t)64 << 20)
#define LIMIT_DISK_MAX   ((int64_t)16 << 40)

extern const struct field limits_fields[4];
extern const char *const egress_choices[]; /* none, restricted */

/* Members of POST /v1/sandboxes that describe the sandbox and of the supervisor's sandbox.create.
 */
struct sandbox_spec {
    const char *template;
    const char *name;
    const char *egress;
    const char *policy;
    const char *owner;
    json_t *env;    /* strings, at most 128, 16 KiB together */
    json_t *labels; /* strings, at most 32 */
    json_t *limits;
};

extern const struct field sandbox_spec_fields[8];

/* Checks what a table cannot: names of templates and policies ([a-z0-9._-], no leading dot),
 * labels, environment names, and decodes spec->limits over *limits, which holds the defaults. */
int sandbox_spec_check(const struct sandbox_spec *spec, struct limits *limits, struct error *err);

/* Names ([A-Za-z_][A-Za-z0-9_]*, at most 128 bytes) and size (16 KiB together) of an environment;
 * NULL is fine. */
int env_check(json_t *env, struct error *err);

/* {"memory":..,"cpu":..,"pids":..,"disk":..} */
json_t *limits_to_json(const struct limits *limits);

/* A template or policy name: 1 to 64 of [a-z0-9._-], beginning with a letter or digit. */
bool resource_name_valid(const char *name);
