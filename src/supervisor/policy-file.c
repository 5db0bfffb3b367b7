/* Theory of operation: see policy-file.h. Tables of fields do most; the functions below what a
 * table cannot say. */
#include "supervisor/policy-file.h"

#include "supervisor/capabilities.h"
#include "supervisor/grouped.h"
#include "supervisor/landlock-profile.h"
#include "supervisor/seccomp-profile.h"

#include "base/cleanup.h"
#include "base/spec.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATHS_MAX 256
#define DEPTH_MAX 8 /* a little more than the deepest field: seccomp.rules[].except.values[] */

#define AT(member) offsetof(struct policy_file, member)

static const struct field policy_fields[] = {
    {"$schema", FIELD_STRING, AT(comment), 0, 512, false, NULL}, /* editors look for it */
    {"name", FIELD_STRING, AT(name), 1, 64, true, NULL},
    {"description", FIELD_STRING, AT(description), 0, 512, false, NULL},
    {"comment", FIELD_STRING, AT(comment), 0, 1024, false, NULL},
    {"extends", FIELD_STRING, AT(extends), 1, 64, false, NULL},
    {"seccomp", FIELD_OBJECT, AT(seccomp), 0, 0, true, NULL},
    {"capabilities", FIELD_OBJECT, AT(capabilities), 0, 0, false, NULL},
    {"masked_paths", FIELD_ARRAY, AT(masked_paths), 0, PATHS_MAX, false, NULL},
    {"read_only_paths", FIELD_ARRAY, AT(read_only_paths), 0, PATHS_MAX, false, NULL},
    {"landlock", FIELD_OBJECT, AT(landlock), 0, 0, false, NULL},
    {"rlimits", FIELD_OBJECT, AT(rlimits), 0, 0, false, NULL},
    {"limits", FIELD_OBJECT, AT(limits), 0, 0, false, NULL},
    {"egress", FIELD_ANY, AT(egress), 0, 0, false, NULL},
};

/* Names and order are those of init/spawn.c. */
struct rlimits {
    const char *comment;
    int64_t value[6];
};

#define RLIMIT_FIELD(name, i)                                                                      \
    {                                                                                              \
        name, FIELD_INT, offsetof(struct rlimits, value[i]), 0, INT64_MAX, false, NULL             \
    }

static const struct field rlimit_fields[] = {
    {"comment", FIELD_STRING, offsetof(struct rlimits, comment), 0, 1024, false, NULL},
    RLIMIT_FIELD("nofile", 0),
    RLIMIT_FIELD("nproc", 1),
    RLIMIT_FIELD("core", 2),
    RLIMIT_FIELD("stack", 3),
    RLIMIT_FIELD("fsize", 4),
    RLIMIT_FIELD("memlock", 5),
};

/* The tables take null for a field that is absent; in a file that somebody wrote it is a mistake.
 * And nothing is deeper than what the tables know. */
static int refuse_null(json_t *value, const char *path, int depth, struct error *err)
{
    char inner[96];
    const char *key;
    json_t *member;
    size_t i;
    int r = 0;

    if (json_is_null(value))
        return error_set_field(err, path, "expected a value, not null");
    if (depth > DEPTH_MAX)
        return error_set_field(err, path, "unknown field, %d levels deep", depth);
    json_array_foreach(value, i, member)
    {
        snprintf(inner, sizeof(inner), "%s[%zu]", path, i);
        r = r < 0 ? r : refuse_null(member, inner, depth + 1, err);
    }
    json_object_foreach(value, key, member)
    {
        snprintf(inner, sizeof(inner), "%s%s%.64s", path, *path ? "." : "", key);
        r = r < 0 ? r : refuse_null(member, inner, depth + 1, err);
    }
    return r;
}

static int check_name(const char *name, const char *field, struct error *err)
{
    if (!name || resource_name_valid(name))
        return 0;
    return error_set_field(err, field,
                           "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`, and a letter or digit "
                           "first");
}

static int check_kernel_path(void *context, const char *path, const char *field, struct error *err)
{
    (void)context;
    if (path && (str_starts(path, "/proc/") || str_starts(path, "/sys/")) && !strstr(path, "/.") &&
        !strstr(path, "//") && path[strlen(path) - 1] != '/' && strlen(path) < 256)
        return 0;
    return error_set_field(err, field,
                           "expected a path below /proc or /sys, without `.` parts, of less than "
                           "256 bytes");
}

static int check_paths(const json_t *paths, const char *field, struct error *err)
{
    return grouped_each(paths, field, "paths", check_kernel_path, NULL, err);
}

static int check_rlimits(const json_t *value, struct error *err)
{
    struct rlimits rlimits;

    return value ? fields_decode(value, rlimit_fields, ELEMENTS(rlimit_fields), "rlimits.",
                                 &rlimits, err)
                 : 0;
}

json_t *policy_file_limits(const struct policy_file *file)
{
    json_t *limits = file->limits ? json_copy(file->limits) : NULL;

    if (limits)
        json_object_del(limits, "comment");
    return limits;
}

static int check_limits(const struct policy_file *file, struct error *err)
{
    struct limits limits = {.cpu = LIMIT_CPU_MAX};
    const json_t *comment = json_object_get(file->limits, "comment");
    cleanup_json json_t *value = policy_file_limits(file);

    if (comment && (!json_is_string(comment) || json_string_length(comment) > 1024))
        return error_set_field(err, "limits.comment", "expected a string of at most 1024 bytes");
    return value ? limits_decode(value, &limits, err) : 0;
}

int policy_file_decode(const json_t *file, struct policy_file *ret_decoded, struct error *err)
{
    struct policy_file decoded = {0};
    int r = refuse_null((json_t *)file, "", 0, err);

    if (r == 0)
        r = fields_decode(file, policy_fields, ELEMENTS(policy_fields), "", &decoded, err);
    if (r == 0)
        r = check_name(decoded.name, "name", err);
    if (r == 0)
        r = check_name(decoded.extends, "extends", err);
    if (r == 0)
        r = seccomp_profile_check(decoded.seccomp, decoded.extends != NULL, err);
    if (r == 0)
        r = capabilities_check(decoded.capabilities, err);
    if (r == 0)
        r = check_paths(decoded.masked_paths, "masked_paths", err);
    if (r == 0)
        r = check_paths(decoded.read_only_paths, "read_only_paths", err);
    if (r == 0)
        r = landlock_profile_check(decoded.landlock, err);
    if (r == 0)
        r = check_rlimits(decoded.rlimits, err);
    if (r == 0)
        r = egress_check(decoded.egress, "egress", err);
    if (r == 0)
        r = check_limits(&decoded, err);
    if (r == 0)
        *ret_decoded = decoded;
    return r;
}
