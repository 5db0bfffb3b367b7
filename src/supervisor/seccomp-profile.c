/* Theory of operation.
 *
 * The policy is data: lists of allowed and denied calls and rules on arguments. Unknown numbers get
 * ENOSYS (libc and runtimes then fall back: clone3, io_uring), denied ones EPERM, another
 * architecture's calls notify init, which kills. In libseccomp an unconditional rule swallows the
 * argument rules of the same call, so "all but these values" is spelt out as the disjoint bit
 * prefixes that none of the values has. One architecture and the binary-tree optimisation: 1 ms to
 * compile. */
#include "supervisor/seccomp-profile.h"

#include "supervisor/grouped.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/fields.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define RULE_ARGS_MAX 6

struct profile {
    const char *comment;
    json_t *allow, *deny, *rules, *remove;
};

struct deny_entry {
    json_t *names;
    const char *reason, *comment;
};

struct rule {
    json_t *names, *args, *except;
    const char *action, *reason, *comment;
};

struct exception {
    int64_t index;
    json_t *values;
    const char *comment;
};

struct comparison {
    int64_t index, mask, equals;
    const char *comment;
};

static const char *const actions[] = {"allow", "deny", NULL};

#define COMMENT(type)                                                                              \
    {                                                                                              \
        "comment", FIELD_STRING, offsetof(struct type, comment), 0, 1024, false, NULL              \
    }

static const struct field profile_fields[] = {
    COMMENT(profile),
    {"allow", FIELD_ARRAY, offsetof(struct profile, allow), 0, 1024, false, NULL},
    {"deny", FIELD_ARRAY, offsetof(struct profile, deny), 0, 256, false, NULL},
    {"rules", FIELD_ARRAY, offsetof(struct profile, rules), 0, 256, false, NULL},
    {"remove", FIELD_ARRAY, offsetof(struct profile, remove), 0, 256, false, NULL},
};

static const struct field deny_fields[] = {
    COMMENT(deny_entry),
    {"names", FIELD_STRING_ARRAY, offsetof(struct deny_entry, names), 1, 256, true, NULL},
    {"reason", FIELD_STRING, offsetof(struct deny_entry, reason), 1, 256, true, NULL},
};

static const struct field rule_fields[] = {
    COMMENT(rule),
    {"names", FIELD_STRING_ARRAY, offsetof(struct rule, names), 1, 64, true, NULL},
    {"action", FIELD_CHOICE, offsetof(struct rule, action), 0, 0, true, actions},
    {"args", FIELD_ARRAY, offsetof(struct rule, args), 0, RULE_ARGS_MAX, true, NULL},
    {"except", FIELD_OBJECT, offsetof(struct rule, except), 0, 0, false, NULL},
    {"reason", FIELD_STRING, offsetof(struct rule, reason), 1, 256, true, NULL},
};

static const struct field exception_fields[] = {
    COMMENT(exception),
    {"index", FIELD_INT, offsetof(struct exception, index), 0, 5, true, NULL},
    {"values", FIELD_ARRAY, offsetof(struct exception, values), 1, 16, true, NULL},
};

static const struct field comparison_fields[] = {
    COMMENT(comparison),
    {"index", FIELD_INT, offsetof(struct comparison, index), 0, 5, true, NULL},
    {"mask", FIELD_INT, offsetof(struct comparison, mask), 0, UINT32_MAX, true, NULL},
    {"equals", FIELD_INT, offsetof(struct comparison, equals), 0, UINT32_MAX, true, NULL},
};

/* One walk over the section both checks it (no context) and compiles it. */
struct compiling {
    scmp_filter_ctx context; /* NULL: only check */
    uint32_t action;
    const struct scmp_arg_cmp *args;
    unsigned int n_args;
};

/* A call of other architectures only has no number here: nothing to do for it. */
static int add(void *userdata, const char *name, const char *path, struct error *err)
{
    const struct compiling *compiling = userdata;
    int number = seccomp_syscall_resolve_name(name);

    if (number == __NR_SCMP_ERROR)
        return error_set_field(err, path, "`%.64s` is no system call that libseccomp knows", name);
    if (number < 0 || !compiling->context)
        return 0;
    int r = seccomp_rule_add_array(compiling->context, compiling->action, number, compiling->n_args,
                                   compiling->args);
    if (r < 0 && r != -EEXIST)
        return error_sys(err, r, "field `%s`: rule for `%s`", path, name);
    return 0;
}

static int add_names(struct compiling *compiling, const json_t *names, const char *prefix,
                     struct error *err)
{
    char path[256];

    snprintf(path, sizeof(path), "%snames", prefix);
    return strings_each(names, path, add, compiling, err);
}

/* "deny" and "remove". */
static int add_denied(struct compiling *compiling, const json_t *list, const char *field,
                      struct error *err)
{
    char prefix[96];
    int r = 0;

    *compiling = (struct compiling){compiling->context, SCMP_ACT_ERRNO(EPERM), NULL, 0};
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        struct deny_entry entry = {0};
        snprintf(prefix, sizeof(prefix), "%s[%zu].", field, i);
        r = fields_decode(json_array_get(list, i), deny_fields, ELEMENTS(deny_fields), prefix,
                          &entry, err);
        if (r == 0)
            r = add_names(compiling, entry.names, prefix, err);
    }
    return r;
}

static bool any_has_prefix(const json_t *values, uint64_t mask, uint64_t prefix)
{
    for (size_t i = 0; i < json_array_size(values); i++)
        if (((uint64_t)json_integer_value(json_array_get(values, i)) & mask) == prefix)
            return true;
    return false;
}

static int check_values(const json_t *values, const char *prefix, struct error *err)
{
    char name[256];

    for (size_t i = 0; i < json_array_size(values); i++) {
        const json_t *value = json_array_get(values, i);
        if (json_is_integer(value) && json_integer_value(value) >= 0 &&
            json_integer_value(value) <= UINT32_MAX)
            continue;
        snprintf(name, sizeof(name), "%svalues[%zu]", prefix, i);
        return error_set_field(err, name, "expected an integer from 0 to %u", UINT32_MAX);
    }
    return 0;
}

/* Rules for every 32-bit value outside the list: each value's bits above bit b with bit b flipped,
 * unless another value begins so too. */
static int add_prefixes(struct compiling *compiling, const struct rule *rule,
                        const struct exception *exception, uint64_t value, const char *prefix,
                        struct error *err)
{
    int r = 0;

    for (int bit = 31; r == 0 && bit >= 0; bit--) {
        uint64_t mask = 0xffffffffu & ~((1ull << bit) - 1);
        uint64_t start = (value ^ (1ull << bit)) & mask;
        if (any_has_prefix(exception->values, mask, start))
            continue;
        struct scmp_arg_cmp arg =
            SCMP_CMP64((unsigned int)exception->index, SCMP_CMP_MASKED_EQ, mask, start);
        compiling->args = &arg;
        compiling->n_args = 1;
        r = add_names(compiling, rule->names, prefix, err);
    }
    compiling->args = NULL;
    return r;
}

static int add_all_but(struct compiling *compiling, const struct rule *rule, const char *prefix,
                       struct error *err)
{
    struct exception exception = {0};
    char inner[192];

    snprintf(inner, sizeof(inner), "%sexcept.", prefix);
    int r = fields_decode(rule->except, exception_fields, ELEMENTS(exception_fields), inner,
                          &exception, err);
    if (r == 0)
        r = check_values(exception.values, inner, err);
    if (r == 0 && json_array_size(rule->args) > 0) {
        snprintf(inner, sizeof(inner), "%sargs", prefix);
        r = error_set_field(err, inner, "expected none beside `except`");
    }
    for (size_t i = 0; r == 0 && i < json_array_size(exception.values); i++)
        r = add_prefixes(compiling, rule, &exception,
                         (uint64_t)json_integer_value(json_array_get(exception.values, i)), prefix,
                         err);
    return r;
}

static int decode_args(const json_t *list, const char *prefix, struct scmp_arg_cmp *ret_args,
                       struct error *err)
{
    char inner[192];
    unsigned int seen = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        struct comparison comparison = {0};
        snprintf(inner, sizeof(inner), "%sargs[%zu].", prefix, i);
        int r = fields_decode(json_array_get(list, i), comparison_fields,
                              ELEMENTS(comparison_fields), inner, &comparison, err);
        if (r < 0)
            return r;
        if (seen & 1u << comparison.index) {
            snprintf(inner, sizeof(inner), "%sargs[%zu].index", prefix, i);
            return error_set_field(err, inner, "expected each argument once");
        }
        seen |= 1u << comparison.index;
        ret_args[i] = SCMP_CMP64((unsigned int)comparison.index, SCMP_CMP_MASKED_EQ,
                                 (scmp_datum_t)comparison.mask, (scmp_datum_t)comparison.equals);
    }
    return 0;
}

static int add_rule(struct compiling *compiling, const json_t *value, const char *prefix,
                    struct error *err)
{
    struct rule rule = {0};
    struct scmp_arg_cmp args[RULE_ARGS_MAX];

    int r = fields_decode(value, rule_fields, ELEMENTS(rule_fields), prefix, &rule, err);
    if (r == 0)
        r = decode_args(rule.args, prefix, args, err);
    if (r < 0)
        return r;
    compiling->action = str_equal(rule.action, "allow") ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);
    if (rule.except)
        return add_all_but(compiling, &rule, prefix, err);
    compiling->args = args;
    compiling->n_args = (unsigned int)json_array_size(rule.args);
    r = add_names(compiling, rule.names, prefix, err);
    compiling->args = NULL;
    return r;
}

static int add_rules(struct compiling *compiling, const json_t *rules, struct error *err)
{
    char prefix[48];
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(rules); i++) {
        snprintf(prefix, sizeof(prefix), "seccomp.rules[%zu].", i);
        r = add_rule(compiling, json_array_get(rules, i), prefix, err);
    }
    return r;
}

static int add_profile(scmp_filter_ctx context, const struct profile *profile, struct error *err)
{
    struct compiling compiling = {context, SCMP_ACT_ALLOW, NULL, 0};
    int r = add_denied(&compiling, profile->deny, "seccomp.deny", err);

    if (r == 0)
        r = add_denied(&compiling, profile->remove, "seccomp.remove", err);
    if (r == 0)
        r = add_rules(&compiling, profile->rules, err);
    if (r < 0)
        return r;
    compiling = (struct compiling){context, SCMP_ACT_ALLOW, NULL, 0};
    return grouped_each(profile->allow, "seccomp.allow", "names", add, &compiling, err);
}

static int export_program(scmp_filter_ctx context, struct error *err)
{
    cleanup_close int fd = memfd_create("auracode-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return error_sys(err, errno, "memfd_create");
    int r = seccomp_export_bpf(context, fd);
    if (r < 0)
        return error_sys(err, r, "compiling the filter");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 ||
        lseek(fd, 0, SEEK_SET) < 0)
        return error_sys(err, errno, "sealing the filter");
    return TAKE_FD(fd);
}

static int compile(const struct profile *profile, struct error *err)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));

    if (!context)
        return error_oom(err);
    int r = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
    /* Killed, but by init, which then can say for which call (init/forbidden.h). */
    if (r == 0)
        r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_NOTIFY);
    if (r < 0)
        error_sys(err, r, "libseccomp");
    if (r == 0)
        r = add_profile(context, profile, err);
    if (r == 0)
        r = export_program(context, err);
    seccomp_release(context);
    return r;
}

static int decode(const json_t *seccomp, struct profile *ret_profile, struct error *err)
{
    return fields_decode(seccomp, profile_fields, ELEMENTS(profile_fields), "seccomp.", ret_profile,
                         err);
}

int seccomp_profile_check(const json_t *seccomp, bool extends, struct error *err)
{
    struct profile profile = {0};
    int r = decode(seccomp, &profile, err);

    if (r == 0 && !extends && json_array_size(profile.allow) == 0)
        return error_set_field(err, "seccomp.allow", "expected at least one system call");
    if (r == 0 && !extends && profile.remove)
        return error_set_field(err, "seccomp.remove", "expected only where `extends` is given");
    return r == 0 ? add_profile(NULL, &profile, err) : r;
}

int seccomp_profile_compile(const json_t *seccomp, struct error *err)
{
    struct profile profile = {0};
    int r = decode(seccomp, &profile, err);

    if (r == 0 && json_array_size(profile.allow) == 0)
        r = error_set_field(err, "seccomp.allow", "expected at least one system call");
    return r < 0 ? r : compile(&profile, err);
}
