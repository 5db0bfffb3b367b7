/* Theory of operation. One table holds everything. Base chains look up the sandbox by the link that
 * a packet enters by, in verdict maps, and jump to its own chains, so one sandbox's rules can be
 * replaced in one transaction without touching another's:
 *
 *   forward      to a link: replies only. From a link: s_ID by the map `egress`; what is in no map
 *                is refused
 *   input        to the host: h_ID by the map `host`, else refused
 *   prerouting   the mark without which nothing is forwarded (fence.h)
 *   postrouting  masquerade of our subnet
 *   s_ID         what the sandbox may reach; every path ends in accept or reject and is counted
 *   h_ID         networks that only an admin can allow, where the host has one of their addresses
 *   a_ID, p_ID   addresses found for domain rules, until the answers expire; p_ID: and ports
 *   y_ID, n_ID   counters of what was accepted and refused
 *
 * A connection carries the mark of the rules that let it out. After a change of the rules it meets
 * the new ones once and is refused or gets the new mark, so a change holds for what is open, too,
 * while an address that expires cuts nothing.
 * Commands are libnftables' JSON (libnftables-json(5)). */
#include "supervisor/nft.h"

#include "supervisor/fence.h"
#include "supervisor/nft-guard.h"

#include "base/cleanup.h"
#include "base/special.h"
#include "base/str.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

#define MANGLE (-150) /* NF_IP_PRI_MANGLE */

/* Made once: it reads files, and keeps what it knows of the ruleset for the next transaction. */
static struct nft_ctx *open_context(void)
{
    static struct nft_ctx *context;

    if (context)
        return context;
    context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (context) {
        nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_JSON);
        nft_ctx_buffer_output(context);
        nft_ctx_buffer_error(context);
    }
    return context;
}

int nft_run_text(const char *text, struct error *err)
{
    struct nft_ctx *context = open_context();
    char reason[200];

    if (!context)
        return error_oom(err);
    if (nft_run_cmd_from_buffer(context, text) == 0)
        return 0;
    snprintf(reason, sizeof(reason), "%s", nft_ctx_get_error_buffer(context));
    reason[strcspn(reason, "\n")] = '\0';
    return error_set(err, EIO, "nftables: %s", reason);
}

/* `ret_output`: what a list command printed; NULL: nothing is expected. */
static int run(json_t *commands, json_t **ret_output, struct error *err)
{
    cleanup_json json_t *document = json_pack("{s:o}", "nftables", commands);
    cleanup_free char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;

    int r = text ? nft_run_text(text, err) : error_oom(err);
    if (r == 0 && ret_output)
        *ret_output = json_loads(nft_ctx_get_output_buffer(open_context()), 0, NULL);
    return r;
}

static json_t *base_chain(const char *table, const char *name, const char *type, const char *hook,
                          int priority)
{
    return json_pack("{s:{s:{s:s, s:s, s:s, s:s, s:s, s:i, s:s}}}", "add", "chain", "family",
                     "inet", "table", table, "name", name, "type", type, "hook", hook, "prio",
                     priority, "policy", "accept");
}

static json_t *match(const char *op, json_t *left, json_t *right)
{
    return json_pack("{s:{s:s, s:o, s:o}}", "match", "op", op, "left", left, "right", right);
}

static json_t *meta(const char *key)
{
    return json_pack("{s:{s:s}}", "meta", "key", key);
}

static json_t *payload(const char *protocol, const char *field)
{
    return json_pack("{s:{s:s, s:s}}", "payload", "protocol", protocol, "field", field);
}

static json_t *from_links(void)
{
    return match("==", meta("iifname"), json_string("@links"));
}

static json_t *to_links(void)
{
    return match("==", meta("oifname"), json_string("@links"));
}

static json_t *replies(void)
{
    return match("in", json_pack("{s:{s:s}}", "ct", "key", "state"),
                 json_pack("[s, s]", "established", "related"));
}

/* Refused at once rather than dropped, so that programs fail fast. */
static json_t *reject(void)
{
    return json_pack("{s:{s:s, s:s}}", "reject", "type", "icmpx", "expr", "admin-prohibited");
}

static json_t *verdict(const char *name)
{
    return json_pack("{s:n}", name);
}

static void rule(json_t *commands, const char *table, const char *chain_name, json_t *expressions)
{
    json_array_append_new(commands,
                          json_pack("{s:{s:{s:s, s:s, s:s, s:o}}}", "add", "rule", "family", "inet",
                                    "table", table, "chain", chain_name, "expr", expressions));
}

static json_t *prefix_of(const char *address, int length)
{
    return json_pack("{s:{s:s, s:i}}", "prefix", "addr", address, "len", length);
}

static json_t *private_set(void)
{
    json_t *set = json_array();

    for (size_t i = 0; set && i < n_special_ranges; i++)
        json_array_append_new(set,
                              prefix_of(special_ranges[i].address, (int)special_ranges[i].prefix));
    return json_pack("{s:o}", "set", set);
}

/* {"add":{KIND:{"family":"inet","table":..,"name":..}}}; `more` (stolen, may be NULL) goes in. */
static void command(json_t *commands, const char *verb, const char *kind, const char *table,
                    const char *name, json_t *more)
{
    json_t *object = json_pack("{s:s, s:s, s:s}", "family", "inet", "table", table, "name", name);

    if (more)
        json_object_update_new(object, more);
    json_array_append_new(commands, json_pack("{s:{s:o}}", verb, kind, object));
}

struct names {
    char link[16], rules[16], host[16], any[16], ports[16], yes[16], no[16];
};

static struct names names_of(const char *id)
{
    struct names names;

    snprintf(names.link, sizeof(names.link), "ac%.12s", id);
    snprintf(names.rules, sizeof(names.rules), "s_%.12s", id);
    snprintf(names.host, sizeof(names.host), "h_%.12s", id);
    snprintf(names.any, sizeof(names.any), "a_%.12s", id);
    snprintf(names.ports, sizeof(names.ports), "p_%.12s", id);
    snprintf(names.yes, sizeof(names.yes), "y_%.12s", id);
    snprintf(names.no, sizeof(names.no), "n_%.12s", id);
    return names;
}

static json_t *count(const char *counter)
{
    return json_pack("{s:s}", "counter", counter);
}

static json_t *ct_mark(void)
{
    return json_pack("{s:{s:s}}", "ct", "key", "mark");
}

/* What one sandbox's rules are made with. */
struct rules {
    json_t *commands;
    const struct nft_table *table;
    struct names names;
    json_int_t mark;
};

static void append(json_t *list, json_t *value)
{
    json_array_append_new(list, value);
}

/* `matches` is stolen. */
static void accept_rule(const struct rules *rules, const char *chain_name, json_t *matches,
                        bool set_mark)
{
    if (set_mark)
        append(matches,
               json_pack("{s:{s:o, s:I}}", "mangle", "key", ct_mark(), "value", rules->mark));
    append(matches, count(rules->names.yes));
    append(matches, verdict("accept"));
    rule(rules->commands, rules->table->name, chain_name, matches);
}

static void reject_rule(const struct rules *rules, const char *chain_name, json_t *matches)
{
    append(matches, count(rules->names.no));
    append(matches, reject());
    rule(rules->commands, rules->table->name, chain_name, matches);
}

static json_t *port_match(json_t *ports)
{
    return match("==", payload("th", "dport"), json_pack("{s:O}", "set", ports));
}

/* One network of an egress rule: address, prefix, protocol?, ports?. */
static void network_rule(const struct rules *rules, const char *chain_name, json_t *network)
{
    static const char *const both[] = {"tcp", "udp"};
    const char *protocol = json_string_value(json_object_get(network, "protocol"));
    json_t *ports = json_object_get(network, "ports");

    for (size_t i = 0; i < (ports || protocol ? ELEMENTS(both) : 1); i++) {
        if (protocol && !str_equal(protocol, both[i]))
            continue;
        json_t *matches = json_pack(
            "[o]", match("==", payload("ip", "daddr"),
                         prefix_of(json_string_value(json_object_get(network, "address")),
                                   (int)json_integer_value(json_object_get(network, "prefix")))));
        if (ports || protocol)
            append(matches, match("==", meta("l4proto"), json_string(both[i])));
        if (ports)
            append(matches, port_match(ports));
        accept_rule(rules, chain_name, matches, true);
    }
}

static void network_rules(const struct rules *rules, const char *chain_name, json_t *sandbox,
                          bool special)
{
    size_t i;
    json_t *network;

    json_array_foreach(json_object_get(sandbox, "networks"), i,
                       network) if (json_is_true(json_object_get(network, "special")) == special)
        network_rule(rules, chain_name, network);
}

static json_t *triple(void)
{
    return json_pack("{s:[o, o, o]}", "concat", payload("ip", "daddr"), meta("l4proto"),
                     payload("th", "dport"));
}

static void resolved_rules(const struct rules *rules)
{
    cleanup_free char *any = str_format("@%s", rules->names.any);
    cleanup_free char *ports = str_format("@%s", rules->names.ports);

    accept_rule(rules, rules->names.rules,
                json_pack("[o]", match("==", payload("ip", "daddr"), json_string(any))), true);
    accept_rule(rules, rules->names.rules,
                json_pack("[o]", match("==", triple(), json_string(ports))), true);
}

static void sandbox_rules(const struct rules *rules, json_t *sandbox)
{
    const char *name = rules->names.rules;
    bool allow = str_equal(json_string_value(json_object_get(sandbox, "mode")), "allow");

    reject_rule(rules, name, json_pack("[o]", match("==", meta("nfproto"), json_string("ipv6"))));
    accept_rule(rules, name,
                json_pack("[o]", match("in", json_pack("{s:{s:s}}", "ct", "key", "state"),
                                       json_string("related"))),
                false);
    accept_rule(rules, name,
                json_pack("[o, o]",
                          match("in", json_pack("{s:{s:s}}", "ct", "key", "state"),
                                json_string("established")),
                          match("==", ct_mark(), json_integer(rules->mark))),
                false);
    network_rules(rules, name, sandbox, true);
    reject_rule(rules, name, json_pack("[o]", match("==", payload("ip", "daddr"), private_set())));
    if (allow) {
        network_rules(rules, name, sandbox, false);
        resolved_rules(rules);
    } else {
        accept_rule(rules, name, json_array(), true);
    }
    reject_rule(rules, name, json_array());
    network_rules(rules, rules->names.host, sandbox, true);
    reject_rule(rules, rules->names.host, json_array());
}

static json_t *timed(json_t *value, json_int_t seconds)
{
    return json_pack("{s:{s:o, s:I}}", "elem", "val", value, "timeout", seconds);
}

/* Twice with a deletion between: what is there already gets the new time. */
static void element(const struct rules *rules, const char *set, json_t *value, json_int_t seconds)
{
    static const char *const verbs[] = {"add", "delete", "add"};

    for (size_t i = 0; i < ELEMENTS(verbs); i++)
        command(rules->commands, verbs[i], "element", rules->table->name, set,
                json_pack("{s:[o]}", "elem",
                          i == 1 ? json_incref(value) : timed(json_incref(value), seconds)));
    json_decref(value);
}

static void port_elements(const struct rules *rules, const char *address, const char *protocol,
                          json_t *ports, json_int_t seconds)
{
    static const char *const both[] = {"tcp", "udp"};
    size_t i;
    json_t *port;

    for (size_t p = 0; p < ELEMENTS(both); p++)
        json_array_foreach(ports, i, port) if (!protocol || str_equal(protocol, both[p]))
            element(rules, rules->names.ports,
                    json_pack("{s:[s, s, O]}", "concat", address, both[p], port), seconds);
}

static void addresses(const struct rules *rules, json_t *list)
{
    size_t i;
    json_t *entry;

    json_array_foreach(list, i, entry)
    {
        const char *address = json_string_value(json_object_get(entry, "address"));
        json_t *ports = json_object_get(entry, "ports");
        json_int_t left = json_integer_value(json_object_get(entry, "until")) - now_monotonic_ms();
        if (left <= 0)
            continue;
        if (ports)
            port_elements(rules, address, json_string_value(json_object_get(entry, "protocol")),
                          ports, (left + 999) / 1000);
        else
            element(rules, rules->names.any, json_string(address), (left + 999) / 1000);
    }
}

static void add_counter(const struct rules *rules, const char *name, json_t *sandbox, size_t first)
{
    json_t *counters = json_object_get(sandbox, "counters");

    command(rules->commands, "add", "counter", rules->table->name, name,
            json_pack("{s:I, s:I}", "packets", json_integer_value(json_array_get(counters, first)),
                      "bytes", json_integer_value(json_array_get(counters, first + 1))));
}

static void map_link(const struct rules *rules, const char *map, const char *target)
{
    command(rules->commands, "add", "element", rules->table->name, map,
            json_pack("{s:[[s, {s:{s:s}}]]}", "elem", rules->names.link, "jump", "target", target));
}

/* All of one sandbox, whether it is there already or not. */
static void add_sandbox(json_t *commands, const struct nft_table *table, const char *id,
                        json_t *sandbox)
{
    struct rules rules = {commands, table, names_of(id),
                          json_integer_value(json_object_get(sandbox, "mark"))};
    const struct names *names = &rules.names;
    const char *chains[] = {names->rules, names->host};

    for (size_t i = 0; i < ELEMENTS(chains); i++) {
        command(commands, "add", "chain", table->name, chains[i], NULL);
        command(commands, "flush", "chain", table->name, chains[i], NULL);
    }
    command(commands, "add", "set", table->name, names->any,
            json_pack("{s:s, s:[s]}", "type", "ipv4_addr", "flags", "timeout"));
    command(commands, "add", "set", table->name, names->ports,
            json_pack("{s:[s, s, s], s:[s]}", "type", "ipv4_addr", "inet_proto", "inet_service",
                      "flags", "timeout"));
    command(commands, "flush", "set", table->name, names->any, NULL);
    command(commands, "flush", "set", table->name, names->ports, NULL);
    add_counter(&rules, names->yes, sandbox, 0);
    add_counter(&rules, names->no, sandbox, 2);
    sandbox_rules(&rules, sandbox);
    addresses(&rules, json_object_get(sandbox, "addresses"));
    command(commands, "add", "element", table->name, "links",
            json_pack("{s:[s]}", "elem", names->link));
    map_link(&rules, "egress", names->rules);
    map_link(&rules, "host", names->host);
    if (table->guarded)
        nft_guard_link(commands, table, "add", names->link);
}

static json_t *lookup(const char *map)
{
    return json_pack("{s:{s:o, s:s}}", "vmap", "key", meta("iifname"), "data", map);
}

static void add_base(json_t *commands, const struct nft_table *table)
{
    const char *name = table->name;

    command(commands, "add", "set", name, "links", json_pack("{s:s}", "type", "ifname"));
    command(commands, "add", "map", name, "egress",
            json_pack("{s:s, s:s}", "type", "ifname", "map", "verdict"));
    command(commands, "add", "map", name, "host",
            json_pack("{s:s, s:s}", "type", "ifname", "map", "verdict"));
    json_array_append_new(commands, base_chain(name, "forward", "filter", "forward", 0));
    json_array_append_new(commands, base_chain(name, "prerouting", "filter", "prerouting", MANGLE));
    json_array_append_new(commands, base_chain(name, "input", "filter", "input", 0));
    json_array_append_new(commands, base_chain(name, "postrouting", "nat", "postrouting", 100));
    rule(commands, name, "forward",
         json_pack("[o, o, o]", to_links(), replies(), verdict("accept")));
    rule(commands, name, "forward", json_pack("[o, o]", to_links(), reject()));
    rule(commands, name, "forward", json_pack("[o]", lookup("@egress")));
    rule(commands, name, "forward", json_pack("[o, o]", from_links(), reject()));
    rule(commands, name, "prerouting",
         json_pack("[o, {s:{s:o, s:{s:[o, I]}}}]", from_links(), "mangle", "key", meta("mark"),
                   "value", "|", meta("mark"), (json_int_t)FENCE_MARK));
    rule(commands, name, "input", json_pack("[o]", lookup("@host")));
    rule(commands, name, "input", json_pack("[o, o]", from_links(), reject()));
    rule(
        commands, name, "postrouting",
        json_pack("[o, o]",
                  match("==", payload("ip", "saddr"), prefix_of(table->subnet, (int)table->prefix)),
                  json_pack("{s:n}", "masquerade")));
}

static void table_command(json_t *commands, const char *verb, const char *name)
{
    append(commands,
           json_pack("{s:{s:{s:s, s:s}}}", verb, "table", "family", "inet", "name", name));
}

int nft_table_replace(const struct nft_table *table, json_t *sandboxes, struct error *err)
{
    json_t *commands = json_array();
    const char *id;
    json_t *sandbox;

    if (!commands)
        return error_oom(err);
    /* add before delete: deleting what is not there would fail the transaction */
    table_command(commands, "add", table->name);
    table_command(commands, "delete", table->name);
    table_command(commands, "add", table->name);
    add_base(commands, table);
    json_object_foreach(sandboxes, id, sandbox) add_sandbox(commands, table, id, sandbox);
    return run(commands, NULL, err);
}

int nft_table_remove(const char *name, struct error *err)
{
    json_t *commands = json_array();

    if (!commands)
        return error_oom(err);
    table_command(commands, "add", name);
    table_command(commands, "delete", name);
    return run(commands, NULL, err);
}

int nft_sandbox_set(const struct nft_table *table, const char *id, json_t *sandbox,
                    struct error *err)
{
    json_t *commands = json_array();

    if (!commands)
        return error_oom(err);
    add_sandbox(commands, table, id, sandbox);
    return run(commands, NULL, err);
}

int nft_addresses_add(const struct nft_table *table, const char *id, json_t *list,
                      struct error *err)
{
    struct rules rules = {json_array(), table, names_of(id), 0};

    if (!rules.commands)
        return error_oom(err);
    addresses(&rules, list);
    return run(rules.commands, NULL, err);
}

static void unmap_link(json_t *commands, const char *table, const char *map, const char *link,
                       const char *target)
{
    command(commands, "delete", "element", table, map,
            target ? json_pack("{s:[[s, {s:{s:s}}]]}", "elem", link, "jump", "target", target)
                   : json_pack("{s:[s]}", "elem", link));
}

int nft_sandbox_remove(const struct nft_table *table, const char *id, struct error *err)
{
    json_t *commands = json_array();
    struct names names = names_of(id);

    if (!commands)
        return error_oom(err);
    unmap_link(commands, table->name, "egress", names.link, names.rules);
    unmap_link(commands, table->name, "host", names.link, names.host);
    unmap_link(commands, table->name, "links", names.link, NULL);
    if (table->guarded)
        nft_guard_link(commands, table, "delete", names.link);
    command(commands, "delete", "chain", table->name, names.rules, NULL);
    command(commands, "delete", "chain", table->name, names.host, NULL);
    command(commands, "delete", "set", table->name, names.any, NULL);
    command(commands, "delete", "set", table->name, names.ports, NULL);
    command(commands, "delete", "counter", table->name, names.yes, NULL);
    command(commands, "delete", "counter", table->name, names.no, NULL);
    return run(commands, NULL, err);
}

/* One at a time: each list command prints a document of its own. */
static int read_counter(const struct nft_table *table, const char *name, json_int_t *ret_values,
                        struct error *err)
{
    json_t *commands = json_array();
    cleanup_json json_t *output = NULL;
    size_t i;
    json_t *entry;

    if (!commands)
        return error_oom(err);
    command(commands, "list", "counter", table->name, name, NULL);
    int r = run(commands, &output, err);
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(output, "nftables"), i, entry)
    {
        const json_t *counter = json_object_get(entry, "counter");
        if (!counter)
            continue;
        ret_values[0] = json_integer_value(json_object_get(counter, "packets"));
        ret_values[1] = json_integer_value(json_object_get(counter, "bytes"));
        return 0;
    }
    return error_set(err, ENOENT, "nftables lists no counter `%s`", name);
}

int nft_counters(const struct nft_table *table, const char *id, json_int_t ret_values[4],
                 struct error *err)
{
    struct names names = names_of(id);
    int r = read_counter(table, names.yes, ret_values, err);

    return r == 0 ? read_counter(table, names.no, ret_values + 2, err) : r;
}

/* An element's value: an address, or {"concat":[address, protocol, port]}. */
static json_t *address_of(const json_t *element, int64_t now)
{
    const json_t *value = json_object_get(element, "val");
    const json_t *triple_value = json_object_get(value, "concat");
    int64_t until = now + json_integer_value(json_object_get(element, "expires")) * 1000;

    if (json_is_string(value))
        return json_pack("{s:O, s:I}", "address", value, "until", (json_int_t)until);
    return json_pack("{s:O, s:O, s:[O], s:I}", "address", json_array_get(triple_value, 0),
                     "protocol", json_array_get(triple_value, 1), "ports",
                     json_array_get(triple_value, 2), "until", (json_int_t)until);
}

static void read_addresses(const struct nft_table *table, const char *set, json_t *list)
{
    json_t *commands = json_array();
    cleanup_json json_t *output = NULL;
    int64_t now = now_monotonic_ms();
    size_t i, k;
    json_t *entry, *element_value;

    if (!commands)
        return;
    command(commands, "list", "set", table->name, set, NULL);
    if (run(commands, &output, NULL) < 0)
        return;
    json_array_foreach(json_object_get(output, "nftables"), i, entry)
    {
        json_array_foreach(json_object_get(json_object_get(entry, "set"), "elem"), k, element_value)
        {
            json_t *address = address_of(json_object_get(element_value, "elem"), now);
            if (address)
                json_array_append_new(list, address);
        }
    }
}

void nft_addresses_read(const struct nft_table *table, const char *id, json_t *list)
{
    struct names names = names_of(id);

    read_addresses(table, names.any, list);
    read_addresses(table, names.ports, list);
}
