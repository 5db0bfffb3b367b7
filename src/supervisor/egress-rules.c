/* Theory of operation: see egress-rules.h. Rules were checked when they came in; what does not
 * decode any more is left out. */
#include "supervisor/egress-rules.h"

#include "base/cleanup.h"
#include "base/special.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/): the same rules have the same mark after a
 * restart. */
json_int_t egress_mark(const json_t *egress, const json_t *flat)
{
    cleanup_free char *text = json_dumps(flat, JSON_COMPACT | JSON_SORT_KEYS);
    uint32_t hash = 2166136261u ^ (uint32_t)egress_mode(egress);

    for (const char *c = text ? text : ""; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return hash ? hash : 1;
}

static json_t *ports_of(const struct egress_rule *rule)
{
    json_t *ports = rule->n_ports > 0 ? json_array() : NULL;

    for (size_t i = 0; ports && i < rule->n_ports; i++)
        json_array_append_new(ports, json_integer(rule->ports[i]));
    return ports;
}

static void network_text(const struct egress_rule *rule, char ret_text[INET_ADDRSTRLEN])
{
    struct in_addr binary = {htonl(rule->base)};

    inet_ntop(AF_INET, &binary, ret_text, INET_ADDRSTRLEN);
}

json_t *egress_networks(const json_t *flat)
{
    json_t *networks = json_array();
    char text[INET_ADDRSTRLEN];
    struct egress_rule rule;
    size_t i;
    json_t *value;

    json_array_foreach(flat, i, value)
    {
        if (egress_rule_decode(value, "rule", &rule, NULL) < 0 || rule.kind != EGRESS_CIDR)
            continue;
        network_text(&rule, text);
        json_array_append_new(networks,
                              json_pack("{s:s, s:i, s:s*, s:o*, s:b}", "address", text, "prefix",
                                        (int)rule.prefix, "protocol", rule.protocol, "ports",
                                        ports_of(&rule), "special",
                                        special_overlaps(rule.base, rule.prefix)));
    }
    return networks;
}

bool egress_names(const json_t *flat, const char *name)
{
    struct egress_rule rule;
    size_t i;
    json_t *value;

    json_array_foreach(flat, i, value) if (egress_rule_decode(value, "rule", &rule, NULL) == 0 &&
                                           rule.kind == EGRESS_DOMAIN &&
                                           domain_matches(rule.name, name)) return true;
    return false;
}

int egress_found(const json_t *flat, const char *name, const json_t *addresses, int64_t until,
                 json_t **ret_found, struct error *err)
{
    cleanup_json json_t *found = json_array();
    struct in_addr binary;
    size_t i;
    json_t *address;

    if (!domain_valid(name, false) || !egress_names(flat, name))
        return error_set_code(err, EPERM, "refused", "no rule allows `%.256s`", name);
    json_array_foreach(addresses, i, address)
    {
        const char *text = json_string_value(address);
        if (!text || inet_pton(AF_INET, text, &binary) != 1)
            return error_set_field(err, "addresses", "expected IPv4 addresses");
        if (special_overlaps(ntohl(binary.s_addr), 32))
            return error_set_code(err, EPERM, "refused", "`%s` is not public", text);
        json_array_append_new(found, json_pack("{s:s, s:s, s:I}", "name", name, "address", text,
                                               "until", (json_int_t)until));
    }
    *ret_found = TAKE_PTR(found);
    return 0;
}

static bool same_pair(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "name"), json_object_get(b, "name")) &&
           json_equal(json_object_get(a, "address"), json_object_get(b, "address"));
}

void egress_drop(json_t *kept, const json_t *found, egress_same *same)
{
    int64_t now = now_monotonic_ms();
    size_t i;
    json_t *entry;

    for (size_t k = json_array_size(kept); k-- > 0;) {
        const json_t *old = json_array_get(kept, k);
        bool drop = json_integer_value(json_object_get(old, "until")) <= now;
        json_array_foreach(found, i, entry) drop = drop || same(old, entry);
        if (drop)
            json_array_remove(kept, k);
    }
}

int egress_keep(json_t *kept, const json_t *found, size_t max, struct error *err)
{
    size_t i;
    json_t *entry;

    egress_drop(kept, found, same_pair);
    if (json_array_size(kept) + json_array_size(found) > max)
        return error_set_code(err, ENOSPC, "too_many_addresses",
                              "more than %zu addresses are open to this sandbox", max);
    json_array_foreach(found, i, entry) json_array_append(kept, entry);
    return 0;
}

static void open_by(const struct egress_rule *rule, const json_t *found, json_t *open)
{
    const char *name = json_string_value(json_object_get(found, "name"));

    if (rule->kind == EGRESS_DOMAIN && domain_matches(rule->name, name))
        json_array_append_new(open, json_pack("{s:O, s:O, s:s*, s:o*}", "address",
                                              json_object_get(found, "address"), "until",
                                              json_object_get(found, "until"), "protocol",
                                              rule->protocol, "ports", ports_of(rule)));
}

/* A protocol without ports is all of its ports; the packet filter's sets know single ones only. */
json_t *egress_addresses(const json_t *flat, const json_t *found)
{
    json_t *open = json_array();
    struct egress_rule rule;
    size_t i, k;
    json_t *value, *entry;

    json_array_foreach(found, i, entry)
        json_array_foreach(flat, k, value) if (egress_rule_decode(value, "rule", &rule, NULL) == 0)
            open_by(&rule, entry, open);
    return open;
}
