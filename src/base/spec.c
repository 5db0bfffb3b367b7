/* Theory of operation: see spec.h. */
#include "base/spec.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIMIT(name, type, min, max)                                                                \
    {                                                                                              \
#name, FIELD_##type, offsetof(struct limits, name), min, max, false, NULL                  \
    }

const struct field limits_fields[LIMITS_FIELDS] = {
    LIMIT(memory, INT, LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX),
    LIMIT(memory_high, INT, 0, LIMIT_MEMORY_MAX),
    LIMIT(swap, INT, 0, LIMIT_MEMORY_MAX),
    LIMIT(cpu, REAL, 0, LIMIT_CPU_MAX),
    LIMIT(cpu_weight, INT, LIMIT_CPU_WEIGHT_MIN, LIMIT_CPU_WEIGHT_MAX),
    LIMIT(pids, INT, LIMIT_PIDS_MIN, LIMIT_PIDS_MAX),
    LIMIT(disk, INT, LIMIT_DISK_MIN, LIMIT_DISK_MAX),
    LIMIT(inodes, INT, 0, LIMIT_INODES_MAX),
    LIMIT(io_read_bps, INT, 0, LIMIT_IO_MAX),
    LIMIT(io_write_bps, INT, 0, LIMIT_IO_MAX),
    LIMIT(tmp, INT, 0, LIMIT_MEMORY_MAX),
    LIMIT(shm, INT, 0, LIMIT_MEMORY_MAX),
    LIMIT(log, INT, LIMIT_LOG_MIN, LIMIT_LOG_MAX),
};

/* Limits that are 0 or at least this. */
static const struct {
    const char *name;
    size_t offset;
    int64_t min;
} optional_limits[] = {
    {"memory_high", offsetof(struct limits, memory_high), LIMIT_MEMORY_HIGH_MIN},
    {"inodes", offsetof(struct limits, inodes), LIMIT_INODES_MIN},
    {"io_read_bps", offsetof(struct limits, io_read_bps), LIMIT_IO_MIN},
    {"io_write_bps", offsetof(struct limits, io_write_bps), LIMIT_IO_MIN},
    {"tmp", offsetof(struct limits, tmp), LIMIT_TMPFS_MIN},
    {"shm", offsetof(struct limits, shm), LIMIT_TMPFS_MIN},
};

const char *const access_choices[3] = {"public", "private", NULL};

const struct field sandbox_spec_fields[9] = {
    {"template", FIELD_STRING, offsetof(struct sandbox_spec, template), 1, 64, true, NULL},
    {"name", FIELD_STRING, offsetof(struct sandbox_spec, name), 1, 128, false, NULL},
    {"egress", FIELD_ANY, offsetof(struct sandbox_spec, egress), 0, 0, false, NULL},
    {"policy", FIELD_STRING, offsetof(struct sandbox_spec, policy), 1, 64, false, NULL},
    {"owner", FIELD_STRING, offsetof(struct sandbox_spec, owner), 1, 128, false, NULL},
    {"env", FIELD_STRING_MAP, offsetof(struct sandbox_spec, env), 0, 128, false, NULL},
    {"labels", FIELD_STRING_MAP, offsetof(struct sandbox_spec, labels), 0, 32, false, NULL},
    {"limits", FIELD_OBJECT, offsetof(struct sandbox_spec, limits), 0, 0, false, NULL},
    {"access", FIELD_CHOICE, offsetof(struct sandbox_spec, access), 0, 0, false, access_choices},
};

bool resource_name_valid(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= 64 && name[0] != '.' && name[0] != '-' && name[0] != '_' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

static int check_resource_name(const char *field, const char *name, struct error *err)
{
    if (!name || resource_name_valid(name))
        return 0;
    return error_set_field(err, field, "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
}

static bool env_name_valid(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= 128 && !(name[0] >= '0' && name[0] <= '9') &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
               length;
}

static int check_map(json_t *map, const char *field, bool (*key_valid)(const char *),
                     size_t max_bytes, struct error *err)
{
    const char *key;
    json_t *value;
    size_t total = 0;

    json_object_foreach(map, key, value)
    {
        if (!key_valid(key))
            return error_set_field(err, field, "`%.64s` is not a valid name", key);
        total += strlen(key) + json_string_length(value);
    }
    if (total > max_bytes)
        return error_set_field(err, field, "expected at most %zu bytes together, got %zu",
                               max_bytes, total);
    return 0;
}

int env_check(json_t *env, struct error *err)
{
    return check_map(env, "env", env_name_valid, 16384, err);
}

static bool label_name_valid(const char *name)
{
    return resource_name_valid(name);
}

int labels_check(json_t *labels, struct error *err)
{
    return check_map(labels, "labels", label_name_valid, 4096, err);
}

int sandbox_spec_check(const struct sandbox_spec *spec, struct limits *limits, struct error *err)
{
    int r = check_resource_name("template", spec->template, err);

    if (r == 0)
        r = check_resource_name("policy", spec->policy, err);
    if (r == 0)
        r = egress_check(spec->egress, "egress", err);
    if (r == 0)
        r = env_check(spec->env, err);
    if (r == 0)
        r = labels_check(spec->labels, err);
    return r == 0 ? limits_decode(spec->limits, limits, err) : r;
}

static int64_t limit_at(const struct limits *limits, size_t offset)
{
    return *(const int64_t *)((const char *)limits + offset);
}

int limits_check(const struct limits *limits, const char *prefix, struct error *err)
{
    char field[64];

    for (size_t i = 0; i < ELEMENTS(optional_limits); i++) {
        int64_t value = limit_at(limits, optional_limits[i].offset);
        if (value == 0 || value >= optional_limits[i].min)
            continue;
        snprintf(field, sizeof(field), "%s%s", prefix, optional_limits[i].name);
        return error_set_field(err, field, "expected 0 or at least %lld, got %lld",
                               (long long)optional_limits[i].min, (long long)value);
    }
    if (limits->cpu >= LIMIT_CPU_MIN)
        return 0;
    snprintf(field, sizeof(field), "%scpu", prefix);
    return error_set_field(err, field, "expected %g to %d cores", LIMIT_CPU_MIN, LIMIT_CPU_MAX);
}

int limits_decode(json_t *value, struct limits *limits, struct error *err)
{
    struct limits decoded = *limits;

    int r =
        value ? fields_decode(value, limits_fields, LIMITS_FIELDS, "limits.", &decoded, err) : 0;
    if (r == 0)
        r = limits_check(&decoded, "limits.", err);
    if (r == 0)
        *limits = decoded;
    return r;
}

struct limits limits_resolved(const struct limits *limits)
{
    struct limits resolved = *limits;

    if (resolved.inodes == 0)
        resolved.inodes = resolved.disk / 16384;
    if (resolved.tmp == 0)
        resolved.tmp = resolved.memory / 2;
    if (resolved.shm == 0)
        resolved.shm = resolved.memory / 4;
    return resolved;
}

json_t *limits_to_json(const struct limits *limits)
{
    cleanup_json json_t *object = json_object();

    for (size_t i = 0; i < LIMITS_FIELDS; i++) {
        const struct field *field = &limits_fields[i];
        json_t *value = field->type == FIELD_REAL
                            ? json_real(*(const double *)((const char *)limits + field->offset))
                            : json_integer(limit_at(limits, field->offset));
        if (json_object_set_new(object, field->name, value) < 0)
            return NULL;
    }
    return TAKE_PTR(object);
}

int error_disk_full(struct error *err, int errnum, const char *path)
{
    bool tmp = strncmp(path, "/tmp", 4) == 0 && (path[4] == '/' || path[4] == '\0');

    return error_set_code(err, errnum, "disk_full", "writing `%.256s`: %s", path,
                          tmp ? "/tmp of the sandbox is full (limits.tmp)"
                              : "the disk of the sandbox is full (limits.disk, limits.inodes)");
}
