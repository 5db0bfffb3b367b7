/* Theory of operation: see bundles.h. */
#include "supervisor/bundles.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/fields.h"
#include "base/spec.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FILE_MAX         ((size_t)256 << 10)
#define EGRESS_NAMES_MAX 16384u

struct bundle {
    const char *description, *comment;
    json_t *rules;
};

static const struct field bundle_fields[] = {
    {"description", FIELD_STRING, offsetof(struct bundle, description), 0, 512, true, NULL},
    {"comment", FIELD_STRING, offsetof(struct bundle, comment), 0, 1024, false, NULL},
    {"rules", FIELD_ARRAY, offsetof(struct bundle, rules), 1, EGRESS_RULES_MAX, true, NULL},
};

static int check_rules(const char *name, const json_t *rules, struct error *err)
{
    struct egress_rule rule;
    char field[96];
    size_t i;
    json_t *value;

    json_array_foreach(rules, i, value)
    {
        snprintf(field, sizeof(field), "%s.rules[%zu]", name, i);
        int r = egress_rule_decode(value, field, &rule, err);
        if (r < 0)
            return r;
        if (rule.kind == EGRESS_BUNDLE)
            return error_set_field(err, field, "a bundle holds no other bundle");
    }
    return 0;
}

static int check_bundle(const char *name, const json_t *value, struct error *err)
{
    struct bundle bundle = {0};
    char prefix[80];

    if (!resource_name_valid(name))
        return error_set_field(err, name, "expected a name of 1 to 64 of a-z, 0-9, `.`, `_`, `-`");
    snprintf(prefix, sizeof(prefix), "%s.", name);
    if (!json_is_object(value))
        return error_set_field(err, name, "expected an object");
    int r = fields_decode(value, bundle_fields, ELEMENTS(bundle_fields), prefix, &bundle, err);
    return r == 0 ? check_rules(name, bundle.rules, err) : r;
}

int bundles_load(const char *path, json_t **ret_bundles, struct error *err)
{
    cleanup_json json_t *bundles = NULL;
    const char *name;
    json_t *value;

    int r = file_read_json(AT_FDCWD, path, FILE_MAX, &bundles, err);
    json_object_foreach(bundles, name, value)
    {
        if (r < 0)
            break;
        r = check_bundle(name, value, err);
        if (r < 0)
            error_prefix(err, "`%s`", path);
    }
    if (r == 0)
        *ret_bundles = TAKE_PTR(bundles);
    return r;
}

static const json_t *rules_of(const json_t *bundles, const char *name)
{
    return json_object_get(json_object_get(bundles, name), "rules");
}

static int refuse_unknown(const json_t *bundles, size_t i, const char *name, struct error *err)
{
    char field[64], known[256] = "";
    const char *other;
    json_t *value;

    json_object_foreach((json_t *)bundles, other, value)
    {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", other);
    }
    snprintf(field, sizeof(field), "egress.rules[%zu].bundle", i);
    return error_set_field(err, field, "there is no bundle `%s`, but %s", name, known);
}

int bundles_check(const json_t *bundles, const json_t *egress, struct error *err)
{
    struct egress_rule rule;
    size_t i, count = 0, bytes = 0;
    json_t *value;

    json_array_foreach(egress_rules(egress), i, value)
    {
        int r = egress_rule_decode(value, "egress.rules", &rule, err);
        if (r < 0)
            return r;
        if (rule.kind == EGRESS_BUNDLE && !rules_of(bundles, rule.name))
            return refuse_unknown(bundles, i, rule.name, err);
        count += rule.kind == EGRESS_BUNDLE ? json_array_size(rules_of(bundles, rule.name)) : 1;
        bytes += rule.kind == EGRESS_BUNDLE ? 0 : strlen(rule.name);
    }
    if (bytes > EGRESS_NAMES_MAX) /* they go to the resolver in one packet */
        return error_set_field(err, "egress.rules", "%zu bytes of names: at most %u are allowed",
                               bytes, EGRESS_NAMES_MAX);
    return count <= EGRESS_FLAT_MAX
               ? 0
               : error_set_field(err, "egress.rules",
                                 "%zu rules with those of the bundles: at most %u are allowed",
                                 count, EGRESS_FLAT_MAX);
}

json_t *bundles_expand(const json_t *bundles, const json_t *egress)
{
    json_t *flat = json_array();
    size_t i, k;
    json_t *value, *inner;

    json_array_foreach(egress_rules(egress), i, value)
    {
        const char *bundle = json_string_value(json_object_get(value, "bundle"));
        if (!bundle && flat)
            json_array_append(flat, value);
        json_array_foreach(bundle ? rules_of(bundles, bundle) : NULL, k,
                           inner) if (json_array_size(flat) < EGRESS_FLAT_MAX)
            json_array_append(flat, inner);
    }
    return flat;
}
