/* Theory of operation: see policy.h. A policy is resolved first (the JSON objects of it and of what
 * it extends become one), then that one object is checked and compiled, which takes about a
 * millisecond. Looking one up costs nothing. */
#include "supervisor/policy.h"

#include "supervisor/seccomp-profile.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/fields.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define POLICY_MAX_BYTES (256 * 1024)
#define POLICIES_MAX     64
#define EXTENDS_MAX      4
#define PATHS_MAX        256

struct policy_file {
    const char *name, *description, *extends, *egress;
    json_t *seccomp, *masked_paths, *read_only_paths, *rlimits, *limits;
};

#define AT(member) offsetof(struct policy_file, member)

static const struct field policy_fields[] = {
    {"name", FIELD_STRING, AT(name), 1, 64, true, NULL},
    {"description", FIELD_STRING, AT(description), 0, 512, false, NULL},
    {"extends", FIELD_STRING, AT(extends), 1, 64, false, NULL},
    {"seccomp", FIELD_OBJECT, AT(seccomp), 0, 0, true, NULL},
    {"masked_paths", FIELD_STRING_ARRAY, AT(masked_paths), 0, PATHS_MAX, false, NULL},
    {"read_only_paths", FIELD_STRING_ARRAY, AT(read_only_paths), 0, PATHS_MAX, false, NULL},
    {"rlimits", FIELD_OBJECT, AT(rlimits), 0, 0, false, NULL},
    {"limits", FIELD_OBJECT, AT(limits), 0, 0, false, NULL},
    {"egress", FIELD_CHOICE, AT(egress), 0, 0, false, egress_choices},
};

/* Names and order are those of init/spawn.c. */
struct rlimits {
    int64_t value[6];
};

#define RLIMIT_FIELD(name, i)                                                                      \
    {                                                                                              \
        name, FIELD_INT, offsetof(struct rlimits, value[i]), 0, INT64_MAX, false, NULL             \
    }

static const struct field rlimit_fields[] = {
    RLIMIT_FIELD("nofile", 0), RLIMIT_FIELD("nproc", 1), RLIMIT_FIELD("core", 2),
    RLIMIT_FIELD("stack", 3),  RLIMIT_FIELD("fsize", 4), RLIMIT_FIELD("memlock", 5),
};

/* ---- what a policy extends ------------------------------------------------------------------- */

static bool names_hold(const json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (str_equal(json_string_value(json_array_get(names, i)), name))
            return true;
    return false;
}

static void take_out(json_t *from, const json_t *names)
{
    for (size_t i = json_array_size(from); i-- > 0;)
        if (names_hold(names, json_string_value(json_array_get(from, i))))
            json_array_remove(from, i);
}

/* Calls taken out are in no list of the base any more, so that what is said of them now holds. */
static void remove_calls(json_t *seccomp, const json_t *names)
{
    json_t *rules = json_object_get(seccomp, "rules");

    take_out(json_object_get(seccomp, "allow"), names);
    for (size_t i = json_array_size(rules); i-- > 0;) {
        json_t *of_rule = json_object_get(json_array_get(rules, i), "names");
        take_out(of_rule, names);
        if (json_array_size(of_rule) == 0)
            json_array_remove(rules, i);
    }
}

static int append(json_t *seccomp, const char *list, json_t *values)
{
    json_t *there = json_object_get(seccomp, list);

    if (!values)
        return 0;
    return there ? json_array_extend(there, values) : json_object_set(seccomp, list, values);
}

static int merge_seccomp(json_t *base, json_t *child)
{
    static const char *const lists[] = {"allow", "deny", "rules"};
    json_t *removed = json_object_get(child, "remove");
    int r = 0;

    for (size_t i = 0; i < json_array_size(removed); i++)
        remove_calls(base, json_object_get(json_array_get(removed, i), "names"));
    r |= append(base, "deny", removed);
    for (size_t i = 0; i < ELEMENTS(lists); i++)
        r |= append(base, lists[i], json_object_get(child, lists[i]));
    return r;
}

static int merge_member(json_t *base, const char *key, json_t *value)
{
    json_t *there = json_object_get(base, key);

    if (str_equal(key, "extends"))
        return 0;
    if (there && str_equal(key, "seccomp"))
        return merge_seccomp(there, value);
    if (json_is_object(there) && json_is_object(value))
        return json_object_update(there, value);
    return json_object_set(base, key, value);
}

static int load(const char *directory, const char *name, int depth, struct policy **ret_policy,
                struct error *err);

/* Gives the base with the child's members in it. The base is loaded as a whole, so that its own
 * faults are told as its own. */
static int merge(const char *directory, json_t *child, const char *extends, int depth,
                 const char *path, json_t **ret_file, struct error *err)
{
    struct policy *policy;
    const char *key;
    json_t *value;

    if (depth >= EXTENDS_MAX) {
        error_set_field(err, "extends", "expected at most %d policies, one on another",
                        EXTENDS_MAX);
        return error_prefix(err, "policy `%s`", path);
    }
    int r = load(directory, extends, depth + 1, &policy, err);
    if (r == -ENOENT)
        return error_set_code(err, EINVAL, "policy_invalid",
                              "policy `%s`: field `extends`: there is no policy `%s`", path,
                              extends);
    if (r < 0)
        return r;
    cleanup_json json_t *base = json_incref(policy->file);
    policy_free(policy);
    json_object_foreach(child, key, value)
    {
        if (merge_member(base, key, value) < 0)
            return error_oom(err);
    }
    *ret_file = TAKE_PTR(base);
    return 0;
}

/* `name`: that the file must have, or NULL; `path`: what errors call it. */
static int resolve_file(const char *directory, json_t *file, const char *name, const char *path,
                        int depth, json_t **ret_file, struct error *err)
{
    struct policy_file policy = {0};
    int r = fields_decode(file, policy_fields, ELEMENTS(policy_fields), "", &policy, err);

    if (r == 0 && name && !str_equal(policy.name, name))
        r = error_set_field(err, "name", "expected the file's: `%s`", name);
    if (r == 0)
        r = seccomp_profile_check(policy.seccomp, policy.extends != NULL, err);
    if (r < 0)
        return error_prefix(err, "policy `%s`", path);
    if (policy.extends)
        return merge(directory, file, policy.extends, depth, path, ret_file, err);
    *ret_file = json_incref(file);
    return 0;
}

static int resolve(const char *directory, const char *name, int depth, json_t **ret_file,
                   struct error *err)
{
    cleanup_json json_t *file = NULL;
    char path[512];

    if (!resource_name_valid(name))
        return error_set_field(err, "policy", "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
    snprintf(path, sizeof(path), "%s/%s.json", directory, name);
    int r = file_read_json(AT_FDCWD, path, POLICY_MAX_BYTES, &file, err);
    if (r == -ENOENT)
        return error_set_code(err, ENOENT, "policy_not_found", "there is no policy `%s`", path);
    if (r < 0)
        return error_prefix(err, "policy `%s`", path);
    return resolve_file(directory, file, name, path, depth, ret_file, err);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_paths(const json_t *paths, const char *field, struct error *err)
{
    char name[48];

    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        if ((strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0) &&
            !strstr(path, "/.") && !strstr(path, "//") && path[strlen(path) - 1] != '/')
            continue;
        snprintf(name, sizeof(name), "%s[%zu]", field, i);
        return error_set_field(err, name, "expected a path below /proc or /sys without `.` parts");
    }
    return 0;
}

static int check(const struct policy_file *file, struct error *err)
{
    struct rlimits rlimits;
    struct limits limits;

    int r = check_paths(file->masked_paths, "masked_paths", err);
    if (r == 0)
        r = check_paths(file->read_only_paths, "read_only_paths", err);
    if (r == 0 && file->rlimits)
        r = fields_decode(file->rlimits, rlimit_fields, ELEMENTS(rlimit_fields), "rlimits.",
                          &rlimits, err);
    if (r == 0 && file->limits)
        r = fields_decode(file->limits, limits_fields, LIMITS_FIELDS, "limits.", &limits, err);
    return r;
}

/* ---- loading --------------------------------------------------------------------------------- */

static int fill(struct policy *policy, struct error *err)
{
    struct policy_file file = {0};
    int r = fields_decode(policy->file, policy_fields, ELEMENTS(policy_fields), "", &file, err);

    if (r == 0)
        r = check(&file, err);
    if (r < 0)
        return r;
    snprintf(policy->name, sizeof(policy->name), "%s", file.name);
    policy->masked_paths = file.masked_paths;
    policy->read_only_paths = file.read_only_paths;
    policy->rlimits = file.rlimits;
    policy->limits = file.limits;
    policy->egress = file.egress;
    policy->program_fd = seccomp_profile_compile(file.seccomp, err);
    return policy->program_fd < 0 ? policy->program_fd : 0;
}

static struct policy *policy_new(void)
{
    struct policy *policy = calloc(1, sizeof(*policy));

    if (policy)
        policy->program_fd = -1;
    return policy;
}

static int load(const char *directory, const char *name, int depth, struct policy **ret_policy,
                struct error *err)
{
    struct policy *policy = policy_new();

    if (!policy)
        return error_oom(err);
    int r = resolve(directory, name, depth, &policy->file, err);
    if (r == 0) {
        r = fill(policy, err);
        if (r < 0)
            error_prefix(err, "policy `%s/%s.json`", directory, name);
    }
    if (r < 0) {
        policy_free(policy);
        return r;
    }
    *ret_policy = policy;
    return 0;
}

int policy_load(const char *directory, const char *name, struct policy **ret_policy,
                struct error *err)
{
    return load(directory, name, 0, ret_policy, err);
}

int policy_check_text(const char *directory, const char *text, struct policy **ret_policy,
                      struct error *err)
{
    json_error_t where;
    cleanup_json json_t *file = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    struct policy *policy = file ? policy_new() : NULL;

    if (!file)
        return error_set_code(err, EINVAL, "policy_invalid", "line %d: %s", where.line, where.text);
    if (!policy)
        return error_oom(err);
    int r = resolve_file(directory, file, NULL, "text", 0, &policy->file, err);
    if (r == 0)
        r = fill(policy, err);
    if (r < 0) {
        policy_free(policy);
        return r;
    }
    *ret_policy = policy;
    return 0;
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    close_and_forget(&policy->program_fd);
    json_decref(policy->file);
    free(policy);
}

/* The name of a policy's file without its suffix. */
static bool is_policy(const struct dirent *entry, char *ret_name, size_t size)
{
    size_t length = strlen(entry->d_name);

    if (entry->d_name[0] == '.' || length <= 5 || length - 5 >= size ||
        !str_equal(entry->d_name + length - 5, ".json"))
        return false;
    snprintf(ret_name, size, "%.*s", (int)(length - 5), entry->d_name);
    return true;
}

static int load_all(DIR *folder, struct policies *fresh, struct error *err)
{
    char name[65];
    size_t count = 0;

    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        struct policy *policy;
        if (!is_policy(entry, name, sizeof(name)))
            continue;
        if (++count > POLICIES_MAX)
            return error_set(err, E2BIG, "policies `%s`: expected at most %d", fresh->directory,
                             POLICIES_MAX);
        int r = policy_load(fresh->directory, name, &policy, err);
        if (r < 0)
            return r;
        policy->next = fresh->first;
        fresh->first = policy;
    }
    return 0;
}

int policies_load(struct policies *policies, struct error *err)
{
    struct policies fresh = {.directory = policies->directory};
    DIR *folder = opendir(policies->directory);

    if (!folder)
        return error_sys(err, errno, "open policies `%s`", policies->directory);
    int r = load_all(folder, &fresh, err);
    closedir(folder);
    if (r < 0) {
        policies_free(&fresh);
        return r;
    }
    policies_free(policies);
    policies->first = fresh.first;
    return 0;
}

void policies_free(struct policies *policies)
{
    while (policies->first) {
        struct policy *policy = policies->first;
        policies->first = policy->next;
        policy_free(policy);
    }
}

int policy_find(const struct policies *policies, const char *name, const struct policy **ret_policy,
                struct error *err)
{
    char known[512] = "";

    for (const struct policy *policy = policies->first; policy; policy = policy->next) {
        size_t used = strlen(known);
        if (str_equal(policy->name, name)) {
            *ret_policy = policy;
            return 0;
        }
        snprintf(known + used, sizeof(known) - used, "%s`%s`", used ? ", " : "", policy->name);
    }
    return error_set_field(err, "policy", "there is no policy `%s`, but %s", name, known);
}

int policy_open(const struct policy *policy, struct error *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", policy->program_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_sys(err, errno, "reopening policy `%s`", policy->name) : fd;
}
