/* Theory of operation: see policy.h. Each file is checked on its own first, so that every fault is
 * told with the file and the line where it stands; then the files that extend one another become
 * one object, and that is compiled, which takes about a millisecond. Looking one up costs nothing.
 */
#include "supervisor/policy.h"

#include "supervisor/capabilities.h"
#include "supervisor/policy-file.h"
#include "supervisor/policy-merge.h"
#include "supervisor/policy-place.h"
#include "supervisor/seccomp-profile.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define POLICIES_MAX 64
#define EXTENDS_MAX  4

/* The text of a file, and what messages call it. */
struct source {
    const char *directory; /* of the policies, where what it extends is looked up */
    const char *label;
    const char *text;
    size_t length;
    int depth; /* of policies that extend it */
};

static int load(const char *directory, const char *name, int depth, struct policy **ret_policy,
                struct error *err);

/* Puts file and line before a message about a field of this text. */
static void blame(const struct source *source, struct error *err)
{
    int line = err && err->field[0] ? policy_line(source->text, source->length, err->field) : 0;

    if (line > 0)
        error_prefix(err, "%s:%d", source->label, line);
    else
        error_prefix(err, "%s", source->label);
}

/* ---- what a policy extends ------------------------------------------------------------------- */

/* Gives the base with the child's members in it. The base is loaded as a whole, so that its own
 * faults are told as its own. */
static int merge(const struct source *source, json_t *child, const char *extends, json_t **ret_file,
                 struct error *err)
{
    struct policy *policy;

    if (source->depth >= EXTENDS_MAX) {
        error_set_field(err, "extends", "expected at most %d policies, one on another",
                        EXTENDS_MAX);
        blame(source, err);
        return -EINVAL;
    }
    int r = load(source->directory, extends, source->depth + 1, &policy, err);
    if (r == -ENOENT) {
        error_set_field(err, "extends", "there is no policy `%s` in `%.128s`", extends,
                        source->directory);
        blame(source, err);
        return -EINVAL;
    }
    if (r < 0)
        return r;
    cleanup_json json_t *base = json_incref(policy->file);
    policy_free(policy);
    r = policy_merge(base, child, err);
    if (r == 0)
        *ret_file = TAKE_PTR(base);
    return r;
}

static int parse(const struct source *source, json_t **ret_file, struct error *err)
{
    json_error_t problem;
    json_t *file = json_loadb(source->text, source->length, JSON_REJECT_DUPLICATES, &problem);

    if (!json_is_object(file)) {
        json_decref(file);
        return error_set_code(err, EINVAL, "policy_invalid", "%s:%d: %s", source->label,
                              file ? 1 : problem.line, file ? "expected an object" : problem.text);
    }
    *ret_file = file;
    return 0;
}

/* `name`: that the file must have, or NULL. */
static int resolve(const struct source *source, const char *name, json_t **ret_file,
                   struct error *err)
{
    struct policy_file decoded;
    cleanup_json json_t *file = NULL;
    int r = parse(source, &file, err);

    if (r < 0)
        return r;
    r = policy_file_decode(file, &decoded, err);
    if (r == 0 && name && !str_equal(decoded.name, name))
        r = error_set_field(err, "name", "expected the file's: `%s`", name);
    if (r < 0) {
        blame(source, err);
        return r;
    }
    if (decoded.extends)
        return merge(source, file, decoded.extends, ret_file, err);
    *ret_file = TAKE_PTR(file);
    return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

static int fill(struct policy *policy, struct error *err)
{
    struct policy_file file = {0};
    int r = policy_file_decode(policy->file, &file, err);

    if (r < 0)
        return r;
    snprintf(policy->name, sizeof(policy->name), "%s", file.name);
    policy->masked_paths = file.masked_paths;
    policy->read_only_paths = file.read_only_paths;
    policy->rlimits = file.rlimits;
    policy->landlock = file.landlock;
    policy->limits = policy_file_limits(&file);
    policy->egress = file.egress;
    policy->init_capabilities = capabilities_of_init(file.capabilities);
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

static int build(const struct source *source, const char *name, struct policy **ret_policy,
                 struct error *err)
{
    struct policy *policy = policy_new();

    if (!policy)
        return error_oom(err);
    int r = resolve(source, name, &policy->file, err);
    if (r == 0) {
        r = fill(policy, err);
        if (r < 0)
            blame(source, err);
    }
    if (r < 0) {
        policy_free(policy);
        return r;
    }
    *ret_policy = policy;
    return 0;
}

static int load(const char *directory, const char *name, int depth, struct policy **ret_policy,
                struct error *err)
{
    cleanup_free char *text = NULL;
    char path[512];
    struct source source = {.directory = directory, .label = path, .depth = depth};

    if (!resource_name_valid(name))
        return error_set_field(err, "policy", "expected 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
    snprintf(path, sizeof(path), "%s/%s.json", directory, name);
    int r = file_read(AT_FDCWD, path, POLICY_MAX_BYTES, &text, &source.length, err);
    if (r == -ENOENT)
        return error_set_code(err, ENOENT, "policy_not_found", "there is no policy `%s`", path);
    if (r < 0)
        return error_prefix(err, "%s", path);
    source.text = text;
    return build(&source, name, ret_policy, err);
}

int policy_load(const char *directory, const char *name, struct policy **ret_policy,
                struct error *err)
{
    return load(directory, name, 0, ret_policy, err);
}

int policy_check_text(const char *directory, const char *label, const char *text,
                      struct policy **ret_policy, struct error *err)
{
    const struct source source = {directory, label, text, strlen(text), 0};

    return build(&source, NULL, ret_policy, err);
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    close_and_forget(&policy->program_fd);
    json_decref(policy->limits);
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
    if (length > 12 && str_equal(entry->d_name + length - 12, ".schema.json"))
        return false; /* for editors, not for us */
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
