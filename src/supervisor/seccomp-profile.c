/* Theory of operation.
 *
 * The policy is data: lists of allowed and denied calls and rules on arguments. Unknown numbers get
 * ENOSYS (libc and runtimes then fall back: clone3, io_uring), denied ones EPERM, another
 * architecture's calls notify init, which kills. In libseccomp an unconditional rule swallows the
 * argument rules of the same call, so "all but these values" is spelt out as the disjoint bit
 * prefixes that none of the values has. One architecture and the binary-tree optimisation: 1 ms to
 * compile. */
#include "supervisor/seccomp-profile.h"

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
    const char *reason;
};

struct rule {
    json_t *names, *args, *except;
    const char *action, *reason;
};

struct exception {
    int64_t index;
    json_t *values;
};

struct comparison {
    int64_t index, mask, equals;
};

static const char *const actions[] = {"allow", "deny", NULL};

static const struct field profile_fields[] = {
    {"comment", FIELD_STRING, offsetof(struct profile, comment), 0, 1024, false, NULL},
    {"allow", FIELD_STRING_ARRAY, offsetof(struct profile, allow), 0, 1024, false, NULL},
    {"deny", FIELD_ARRAY, offsetof(struct profile, deny), 0, 256, false, NULL},
    {"rules", FIELD_ARRAY, offsetof(struct profile, rules), 0, 256, false, NULL},
    {"remove", FIELD_ARRAY, offsetof(struct profile, remove), 0, 256, false, NULL},
};

static const struct field deny_fields[] = {
    {"names", FIELD_STRING_ARRAY, offsetof(struct deny_entry, names), 1, 256, true, NULL},
    {"reason", FIELD_STRING, offsetof(struct deny_entry, reason), 1, 256, true, NULL},
};

static const struct field rule_fields[] = {
    {"names", FIELD_STRING_ARRAY, offsetof(struct rule, names), 1, 64, true, NULL},
    {"action", FIELD_CHOICE, offsetof(struct rule, action), 0, 0, true, actions},
    {"args", FIELD_ARRAY, offsetof(struct rule, args), 0, RULE_ARGS_MAX, true, NULL},
    {"except", FIELD_OBJECT, offsetof(struct rule, except), 0, 0, false, NULL},
    {"reason", FIELD_STRING, offsetof(struct rule, reason), 1, 256, true, NULL},
};

static const struct field exception_fields[] = {
    {"index", FIELD_INT, offsetof(struct exception, index), 0, 5, true, NULL},
    {"values", FIELD_ARRAY, offsetof(struct exception, values), 1, 16, true, NULL},
};

static const struct field comparison_fields[] = {
    {"index", FIELD_INT, offsetof(struct comparison, index), 0, 5, true, NULL},
    {"mask", FIELD_INT, offsetof(struct comparison, mask), 0, UINT32_MAX, true, NULL},
    {"equals", FIELD_INT, offsetof(struct comparison, equals), 0, UINT32_MAX, true, NULL},
};

struct compiling {
    scmp_filter_ctx context;
    struct error *err;
};

/* A call of other architectures only has no number here: nothing to do for it. */
static int add(const struct compiling *compiling, const char *name, uint32_t action,
               const struct scmp_arg_cmp *args, unsigned int n_args)
{
    int number = seccomp_syscall_resolve_name(name);

    if (number == __NR_SCMP_ERROR)
        return error_set_field(compiling->err, "seccomp",
                               "`%s` is no system call that libseccomp knows", name);
    if (number < 0)
        return 0;
    int r = seccomp_rule_add_array(compiling->context, action, number, n_args, args);
    if (r < 0 && r != -EEXIST)
        return error_sys(compiling->err, r, "field `seccomp`: rule for `%s`", name);
    return 0;
}

static int add_names(const struct compiling *compiling, json_t *names, uint32_t action,
                     const struct scmp_arg_cmp *args, unsigned int n_args)
{
    size_t i;
    json_t *name;
    int r = 0;

    json_array_foreach(names, i, name)
    {
        r = add(compiling, json_string_value(name), action, args, n_args);
        if (r < 0)
            break;
    }
    return r;
}

static int add_denied(const struct compiling *compiling, json_t *list)
{
    size_t i;
    json_t *value;
    char prefix[48];

    json_array_foreach(list, i, value)
    {
        struct deny_entry entry = {0};
        snprintf(prefix, sizeof(prefix), "seccomp.deny[%zu].", i);
        int r = fields_decode(value, deny_fields, ELEMENTS(deny_fields), prefix, &entry,
                              compiling->err);
        if (r == 0)
            r = add_names(compiling, entry.names, SCMP_ACT_ERRNO(EPERM), NULL, 0);
        if (r < 0)
            return r;
    }
    return 0;
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
    char name[96];

    for (size_t i = 0; i < json_array_size(values); i++) {
        const json_t *value = json_array_get(values, i);
        if (json_is_integer(value) && json_integer_value(value) >= 0 &&
            json_integer_value(value) <= UINT32_MAX)
            continue;
        snprintf(name, sizeof(name), "%sexcept.values[%zu]", prefix, i);
        return error_set_field(err, name, "expected an integer from 0 to %u", UINT32_MAX);
    }
    return 0;
}

/* Rules for every 32-bit value outside the list: each value's bits above bit b with bit b flipped,
 * unless another value begins so too. */
static int add_all_but(const struct compiling *compiling, const struct rule *rule, uint32_t action,
                       const char *prefix)
{
    struct exception exception = {0};

    int r = fields_decode(rule->except, exception_fields, ELEMENTS(exception_fields), prefix,
                          &exception, compiling->err);
    if (r == 0)
        r = check_values(exception.values, prefix, compiling->err);
    if (r == 0 && json_array_size(rule->args) > 0)
        r = error_set_field(compiling->err, "seccomp.rules",
                            "expected `args` or `except`, not both");
    for (size_t i = 0; r == 0 && i < json_array_size(exception.values); i++) {
        uint64_t value = (uint64_t)json_integer_value(json_array_get(exception.values, i));
        for (int bit = 31; r == 0 && bit >= 0; bit--) {
            uint64_t mask = 0xffffffffu & ~((1ull << bit) - 1);
            uint64_t start = (value ^ (1ull << bit)) & mask;
            if (any_has_prefix(exception.values, mask, start))
                continue;
            struct scmp_arg_cmp arg =
                SCMP_CMP64((unsigned int)exception.index, SCMP_CMP_MASKED_EQ, mask, start);
            r = add_names(compiling, rule->names, action, &arg, 1);
        }
    }
    return r;
}

static int add_rule(const struct compiling *compiling, const json_t *value, const char *prefix)
{
    struct rule rule = {0};
    struct scmp_arg_cmp args[RULE_ARGS_MAX];
    size_t i;
    json_t *argument;

    int r = fields_decode(value, rule_fields, ELEMENTS(rule_fields), prefix, &rule, compiling->err);
    if (r < 0)
        return r;
    json_array_foreach(rule.args, i, argument)
    {
        struct comparison comparison = {0};
        r = fields_decode(argument, comparison_fields, ELEMENTS(comparison_fields), prefix,
                          &comparison, compiling->err);
        if (r < 0)
            return r;
        args[i] = SCMP_CMP64((unsigned int)comparison.index, SCMP_CMP_MASKED_EQ,
                             (scmp_datum_t)comparison.mask, (scmp_datum_t)comparison.equals);
    }
    uint32_t action = str_equal(rule.action, "allow") ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);
    if (rule.except)
        return add_all_but(compiling, &rule, action, prefix);
    return add_names(compiling, rule.names, action, args, (unsigned int)json_array_size(rule.args));
}

static int add_rules(const struct compiling *compiling, json_t *rules)
{
    size_t i;
    json_t *value;
    char prefix[48];
    int r = 0;

    json_array_foreach(rules, i, value)
    {
        snprintf(prefix, sizeof(prefix), "seccomp.rules[%zu].", i);
        r = add_rule(compiling, value, prefix);
        if (r < 0)
            break;
    }
    return r;
}

static int export_program(const struct compiling *compiling)
{
    cleanup_close int fd = memfd_create("auracode-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return error_sys(compiling->err, errno, "memfd_create");
    int r = seccomp_export_bpf(compiling->context, fd);
    if (r < 0)
        return error_sys(compiling->err, r, "compiling the filter");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 ||
        lseek(fd, 0, SEEK_SET) < 0)
        return error_sys(compiling->err, errno, "sealing the filter");
    return TAKE_FD(fd);
}

static int compile(const struct profile *profile, struct error *err)
{
    struct compiling compiling = {seccomp_init(SCMP_ACT_ERRNO(ENOSYS)), err};

    if (!compiling.context)
        return error_oom(err);
    int r = seccomp_attr_set(compiling.context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = seccomp_attr_set(compiling.context, SCMP_FLTATR_CTL_NNP, 0);
    /* Killed, but by init, which then can say for which call (init/forbidden.h). */
    if (r == 0)
        r = seccomp_attr_set(compiling.context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_NOTIFY);
    if (r < 0)
        error_sys(err, r, "libseccomp");
    if (r == 0)
        r = add_denied(&compiling, profile->deny);
    if (r == 0)
        r = add_rules(&compiling, profile->rules);
    if (r == 0)
        r = add_names(&compiling, profile->allow, SCMP_ACT_ALLOW, NULL, 0);
    if (r == 0)
        r = export_program(&compiling);
    seccomp_release(compiling.context);
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
    return r;
}

int seccomp_profile_compile(const json_t *seccomp, struct error *err)
{
    struct profile profile = {0};
    int r = decode(seccomp, &profile, err);

    return r < 0 ? r : compile(&profile, err);
}
