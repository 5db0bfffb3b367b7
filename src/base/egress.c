/* Theory of operation: see egress.h. A field table does the types and bounds; what a table cannot
 * say (exactly one of domain, cidr and bundle; syntax of each) is checked here, in one place for
 * requests, policies, bundles, the command line and the configuration. */
#include "base/egress.h"

#include "base/cleanup.h"
#include "base/fields.h"
#include "base/spec.h"
#include "base/special.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

const char *const egress_choices[] = {"none", "restricted", "allow", NULL};

static const char *const protocols[] = {"tcp", "udp", NULL};

struct rule_fields {
    const char *domain, *cidr, *bundle, *protocol, *comment;
    json_t *ports;
};

#define AT(member) offsetof(struct rule_fields, member)

static const struct field rule_fields[] = {
    {"domain", FIELD_STRING, AT(domain), 1, DOMAIN_MAX + 2, false, NULL},
    {"cidr", FIELD_STRING, AT(cidr), 1, 64, false, NULL},
    {"bundle", FIELD_STRING, AT(bundle), 1, 64, false, NULL},
    {"protocol", FIELD_CHOICE, AT(protocol), 0, 0, false, protocols},
    {"ports", FIELD_ARRAY, AT(ports), 1, EGRESS_PORTS_MAX, false, NULL},
    {"comment", FIELD_STRING, AT(comment), 0, 1024, false, NULL},
};

struct egress_fields {
    const char *mode, *comment;
    json_t *rules;
};

static const struct field egress_fields[] = {
    {"mode", FIELD_CHOICE, offsetof(struct egress_fields, mode), 0, 0, true, egress_choices},
    {"rules", FIELD_ARRAY, offsetof(struct egress_fields, rules), 0, EGRESS_RULES_MAX, false, NULL},
    {"comment", FIELD_STRING, offsetof(struct egress_fields, comment), 0, 1024, false, NULL},
};

/* ---- names
 * ------------------------------------------------------------------------------------------- */

static bool label_valid(const char *label, size_t length)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    return length >= 1 && length <= 63 && strspn(label, allowed) >= length && label[0] != '-' &&
           label[length - 1] != '-';
}

bool domain_valid(const char *name, bool wildcard)
{
    if (wildcard && str_starts(name, "*."))
        name += 2;
    if (strlen(name) > DOMAIN_MAX)
        return false;
    for (;;) {
        size_t length = strcspn(name, ".");
        if (!label_valid(name, length))
            return false;
        if (!name[length])
            return true;
        name += length + 1;
    }
}

bool domain_matches(const char *pattern, const char *name)
{
    if (!str_starts(pattern, "*."))
        return strcasecmp(pattern, name) == 0;
    size_t suffix = strlen(pattern + 1), length = strlen(name);
    return length > suffix && strcasecmp(name + length - suffix, pattern + 1) == 0;
}

/* ---- rules
 * ------------------------------------------------------------------------------------------- */

static int decode_network(const char *text, const char *field, struct egress_rule *rule,
                          struct error *err)
{
    char address[INET_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    struct in_addr binary;
    uint64_t prefix = 32;

    if (length >= sizeof(address) || (slash && parse_u64(slash + 1, 0, 32, &prefix) < 0))
        return error_set_field(err, field, "`%s`: expected an IPv4 network, ADDRESS/0 to /32",
                               text);
    memcpy(address, text, length);
    address[length] = '\0';
    if (inet_pton(AF_INET, address, &binary) != 1)
        return error_set_field(err, field, "`%s`: expected an IPv4 network, ADDRESS/0 to /32",
                               text);
    rule->base = ntohl(binary.s_addr);
    rule->prefix = (unsigned int)prefix;
    if (rule->base & ~prefix_mask(rule->prefix))
        return error_set_field(err, field, "`%s` has bits set after its first %u", text,
                               rule->prefix);
    if (special_never(rule->base, rule->prefix))
        return error_set_field(err, field, "`%s` cannot be reached from a sandbox", text);
    return 0;
}

static int decode_ports(const json_t *ports, const char *field, struct egress_rule *rule,
                        struct error *err)
{
    char place[96];
    size_t i;
    json_t *port;

    json_array_foreach(ports, i, port)
    {
        json_int_t number = json_integer_value(port);
        snprintf(place, sizeof(place), "%s.ports[%zu]", field, i);
        if (!json_is_integer(port) || number < 1 || number > 65535)
            return error_set_field(err, place, "expected a whole number from 1 to 65535");
        rule->ports[rule->n_ports++] = (uint16_t)number;
    }
    return 0;
}

static int refuse_extra(const struct rule_fields *fields, const char *field, struct error *err)
{
    int given = !!fields->domain + !!fields->cidr + !!fields->bundle;

    if (given != 1)
        return error_set_field(err, field, "expected one of `domain`, `cidr` and `bundle`");
    if (fields->domain && fields->protocol && !fields->ports)
        return error_set_field(err, field, "a protocol of a domain needs ports");
    if (fields->bundle && (fields->ports || fields->protocol))
        return error_set_field(err, field, "a bundle has its ports and protocols itself");
    return 0;
}

int egress_rule_decode(const json_t *value, const char *field, struct egress_rule *ret_rule,
                       struct error *err)
{
    struct rule_fields fields = {0};
    struct egress_rule rule = {0};
    char place[96];

    if (!json_is_object(value))
        return error_set_field(err, field, "expected an object");
    snprintf(place, sizeof(place), "%s.", field);
    int r = fields_decode(value, rule_fields, ELEMENTS(rule_fields), place, &fields, err);
    if (r == 0)
        r = refuse_extra(&fields, field, err);
    if (r < 0)
        return r;
    rule.kind = fields.domain ? EGRESS_DOMAIN : fields.cidr ? EGRESS_CIDR : EGRESS_BUNDLE;
    rule.name = fields.domain ? fields.domain : fields.cidr ? fields.cidr : fields.bundle;
    rule.protocol = fields.protocol;
    snprintf(place, sizeof(place), "%s.%s", field,
             fields.domain ? "domain"
             : fields.cidr ? "cidr"
                           : "bundle");
    if (fields.domain && !domain_valid(fields.domain, true))
        return error_set_field(err, place,
                               "`%s`: expected a domain name or `*.` and one (punycode for other "
                               "than a-z, 0-9, `-`)",
                               fields.domain);
    if (fields.bundle && !resource_name_valid(fields.bundle))
        return error_set_field(err, place, "`%s` is no name of a bundle", fields.bundle);
    if (fields.cidr)
        r = decode_network(fields.cidr, place, &rule, err);
    if (r == 0)
        r = decode_ports(fields.ports, field, &rule, err);
    if (r == 0)
        *ret_rule = rule;
    return r;
}

static int check_rules(const json_t *rules, const char *field, struct error *err)
{
    struct egress_rule rule;
    char place[64];
    size_t i;
    json_t *value;
    int r = 0;

    json_array_foreach(rules, i, value)
    {
        snprintf(place, sizeof(place), "%s.rules[%zu]", field, i);
        r = egress_rule_decode(value, place, &rule, err);
        if (r < 0)
            break;
    }
    return r;
}

static int check_mode(const char *mode, const char *field, struct error *err)
{
    for (size_t i = 0; egress_choices[i]; i++)
        if (str_equal(egress_choices[i], mode))
            return 0;
    return error_set_field(err, field, "expected none, restricted, allow or an object");
}

int egress_check(const json_t *egress, const char *field, struct error *err)
{
    struct egress_fields fields = {0};
    char place[48];

    if (!egress || json_is_null(egress))
        return 0;
    if (json_is_string(egress))
        return check_mode(json_string_value(egress), field, err);
    if (!json_is_object(egress))
        return error_set_field(err, field, "expected none, restricted, allow or an object");
    snprintf(place, sizeof(place), "%s.", field);
    int r = fields_decode(egress, egress_fields, ELEMENTS(egress_fields), place, &fields, err);
    if (r == 0 && json_array_size(fields.rules) > 0 && !str_equal(fields.mode, "allow")) {
        snprintf(place, sizeof(place), "%s.rules", field);
        return error_set_field(err, place, "rules are for mode `allow`, not `%s`", fields.mode);
    }
    return r == 0 ? check_rules(fields.rules, field, err) : r;
}

const char *egress_mode_name(const json_t *egress)
{
    const char *mode =
        json_string_value(json_is_object(egress) ? json_object_get(egress, "mode") : egress);

    return mode ? mode : "none";
}

enum egress_mode egress_mode(const json_t *egress)
{
    const char *mode = egress_mode_name(egress);

    return str_equal(mode, "allow")        ? EGRESS_ALLOW
           : str_equal(mode, "restricted") ? EGRESS_RESTRICTED
                                           : EGRESS_NONE;
}

json_t *egress_rules(const json_t *egress)
{
    return json_is_object(egress) ? json_object_get(egress, "rules") : NULL;
}

int egress_check_public(const json_t *egress, struct error *err)
{
    struct egress_rule rule;
    char place[64];
    size_t i;
    json_t *value;

    json_array_foreach(egress_rules(egress), i, value)
    {
        snprintf(place, sizeof(place), "egress.rules[%zu]", i);
        int r = egress_rule_decode(value, place, &rule, err);
        if (r < 0)
            return r;
        if (rule.kind == EGRESS_CIDR && special_overlaps(rule.base, rule.prefix))
            return error_set_code(err, EPERM, "egress_forbidden",
                                  "%s: `%s` holds addresses that are not public, which only an "
                                  "admin may allow",
                                  place, rule.name);
    }
    return 0;
}

/* ---- text
 * -------------------------------------------------------------------------------------------- */

static int add_ports(json_t *rule, const char *text, const char *whole, struct error *err)
{
    cleanup_free char *copy = strdup(text);
    char *save = NULL;
    uint64_t port;
    json_t *ports = json_array();

    if (!copy || !ports || json_object_set_new(rule, "ports", ports) < 0)
        return error_oom(err);
    for (char *item = strtok_r(copy, "+", &save); item; item = strtok_r(NULL, "+", &save)) {
        if (parse_u64(item, 1, 65535, &port) < 0)
            return error_set_field(err, "allow", "`%s`: expected ports from 1 to 65535 after `:`",
                                   whole);
        json_array_append_new(ports, json_integer((json_int_t)port));
    }
    return 0;
}

static const char *kind_of_text(const char *text)
{
    if (strchr(text, '/') || strspn(text, "0123456789.") == strlen(text))
        return "cidr";
    return strchr(text, '.') ? "domain" : "bundle";
}

int egress_rule_from_text(const char *text, json_t **ret_rule, struct error *err)
{
    const char *colon = strchr(text, ':');
    cleanup_free char *name = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
    struct egress_rule decoded;

    if (!name)
        return error_oom(err);
    cleanup_json json_t *rule = json_pack("{s:s}", kind_of_text(name), name);
    if (!rule)
        return error_set_field(err, "allow", "`%s` is not UTF-8", text);
    int r = colon ? add_ports(rule, colon + 1, text, err) : 0;
    if (r == 0) {
        r = egress_rule_decode(rule, "allow", &decoded, err);
        if (r < 0)
            return error_prefix(err, "`%s`", text);
        *ret_rule = TAKE_PTR(rule);
    }
    return r;
}

int egress_from_text(const char *mode, const char *list, json_t **ret_egress, struct error *err)
{
    cleanup_json json_t *rules = json_array();
    size_t count = str_list_count(list);
    json_t *rule = NULL;

    if (!str_equal(mode, "allow")) {
        if (count > 0)
            return error_set_field(err, "allow", "rules are for egress `allow`, not `%s`", mode);
        *ret_egress = json_string(mode);
        return *ret_egress ? 0 : error_oom(err);
    }
    if (count > EGRESS_RULES_MAX)
        return error_set_field(err, "allow", "%zu rules: at most %u are allowed", count,
                               EGRESS_RULES_MAX);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *item = str_list_item(list, i);
        int r = item ? egress_rule_from_text(item, &rule, err) : error_oom(err);
        if (r < 0)
            return r;
        json_array_append_new(rules, rule);
    }
    *ret_egress = json_pack("{s:s, s:O}", "mode", "allow", "rules", rules);
    return *ret_egress ? 0 : error_oom(err);
}
