/* Theory of operation: see spec.h. */
#include "base/spec.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *const egress_choices[] = {"none", "restricted", NULL};

const struct field limits_fields[4] = {
    {"memory", FIELD_INT, offsetof(struct limits, memory), LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX,
     false, NULL},
    {"cpu", FIELD_REAL, offsetof(struct limits, cpu), 0, LIMIT_CPU_MAX, false, NULL},
    {"pids", FIELD_INT, offsetof(struct limits, pids), LIMIT_PIDS_MIN, LIMIT_PIDS_MAX, false, NULL},
    {"disk", FIELD_INT, offsetof(struct limits, disk), LIMIT_DISK_MIN, LIMIT_DISK_MAX, false, NULL},
};

const struct field sandbox_spec_fields[8] = {
    {"template", FIELD_STRING, offsetof(struct sandbox_spec, template), 1, 64, true, NULL},
    {"name", FIELD_STRING, offsetof(struct sandbox_spec, name), 1, 128, false, NULL},
    {"egress", FIELD_CHOICE, offsetof(struct sandbox_spec, egress), 0, 0, false, egress_choices},
    {"policy", FIELD_STRING, offsetof(struct sandbox_spec, policy), 1, 64, false, NULL},
    {"owner", FIELD_STRING, offsetof(struct sandbox_spec, owner), 1, 128, false, NULL},
    {"env", FIELD_STRING_MAP, offsetof(struct sandbox_spec, env), 0, 128, false, NULL},
    {"labels", FIELD_STRING_MAP, offsetof(struct sandbox_spec, labels), 0, 32, false, NULL},
    {"limits", FIELD_OBJECT, offsetof(struct sandbox_spec, limits), 0, 0, false, NULL},
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

int sandbox_spec_check(const struct sandbox_spec *spec, struct limits *limits, struct error *err)
{
    int r = check_resource_name("template", spec->template, err);

    if (r == 0)
        r = check_resource_name("policy", spec->policy, err);
    if (r == 0)
        r = env_check(spec->env, err);
    if (r == 0)
        r = check_map(spec->labels, "labels", label_name_valid, 4096, err);
    if (r == 0 && spec->limits)
        r = fields_decode(spec->limits, limits_fields, ELEMENTS(limits_fields), "limits.", limits,
                          err);
    if (r == 0 && limits->cpu < LIMIT_CPU_MIN)
        r = error_set_field(err, "limits.cpu", "expected %g to %d cores", LIMIT_CPU_MIN,
                            LIMIT_CPU_MAX);
    return r;
}

json_t *limits_to_json(const struct limits *limits)
{
    return json_pack("{s:I, s:f, s:I, s:I}", "memory", (json_int_t)limits->memory, "cpu",
                     limits->cpu, "pids", (json_int_t)limits->pids, "disk",
                     (json_int_t)limits->disk);
}
