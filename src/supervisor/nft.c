/* Theory of operation. Rules are data (JSON text with three places to fill): everything that enters
 * by one of our links is forwarded to public IPv4 addresses only; DNS to the host's name servers is
 * the one exception. Nothing reaches the host itself or another link, and nothing but replies comes
 * back in. The whole table is one transaction, so there is no moment with half of it. */
#include "supervisor/nft.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <string.h>

#include "supervisor/network.h"

/* What "public" leaves out: IANA's special-purpose registry (RFC 6890) where such addresses are
 * private, local or shared. */
static const struct {
    const char *address;
    int prefix;
} private_ranges[] = {
    {"0.0.0.0", 8},      {"10.0.0.0", 8},    {"100.64.0.0", 10}, {"127.0.0.0", 8},
    {"169.254.0.0", 16}, {"172.16.0.0", 12}, {"192.0.0.0", 24},  {"192.168.0.0", 16},
    {"198.18.0.0", 15},  {"224.0.0.0", 4},   {"240.0.0.0", 4},
};

static int run(json_t *commands, struct error *err)
{
    cleanup_json json_t *document = json_pack("{s:o}", "nftables", commands);
    cleanup_free char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
    struct nft_ctx *context = text ? nft_ctx_new(NFT_CTX_DEFAULT) : NULL;

    if (!context)
        return error_oom(err);
    nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_JSON);
    nft_ctx_buffer_output(context);
    nft_ctx_buffer_error(context);
    int r = nft_run_cmd_from_buffer(context, text);
    if (r != 0) {
        char reason[200];
        snprintf(reason, sizeof(reason), "%s", nft_ctx_get_error_buffer(context));
        reason[strcspn(reason, "\n")] = '\0';
        r = error_set(err, EIO, "nftables: %s", reason);
    }
    nft_ctx_free(context);
    return r;
}

static json_t *chain(const char *table, const char *name, const char *type, const char *hook,
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

    for (size_t i = 0; set && i < ELEMENTS(private_ranges); i++)
        json_array_append_new(set, prefix_of(private_ranges[i].address, private_ranges[i].prefix));
    return json_pack("{s:o}", "set", set);
}

/* IPv4 addresses of the name servers that sandboxes are told about. */
static json_t *name_servers(void)
{
    cleanup_free char *text = network_resolv_conf(true);
    json_t *set = json_array();
    char *save = NULL, address[64];
    struct in_addr binary;

    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        if (sscanf(line, " nameserver %63s", address) == 1 &&
            inet_pton(AF_INET, address, &binary) == 1)
            json_array_append_new(set, json_string(address));
    return set;
}

static void dns_rule(json_t *commands, const char *table, const char *protocol)
{
    json_t *servers = name_servers();

    if (json_array_size(servers) == 0) {
        json_decref(servers);
        return;
    }
    rule(commands, table, "forward",
         json_pack("[o, o, o, o]", from_links(),
                   match("==", payload("ip", "daddr"), json_pack("{s:o}", "set", servers)),
                   match("==", payload(protocol, "dport"), json_integer(53)), verdict("accept")));
}

static void forward_rules(json_t *commands, const char *table)
{
    rule(commands, table, "forward",
         json_pack("[o, o, o]", to_links(), replies(), verdict("accept")));
    rule(commands, table, "forward", json_pack("[o, o]", to_links(), reject()));
    rule(commands, table, "forward",
         json_pack("[o, o, o]", from_links(), replies(), verdict("accept")));
    dns_rule(commands, table, "udp");
    dns_rule(commands, table, "tcp");
    rule(commands, table, "forward",
         json_pack("[o, o, o]", from_links(), match("==", payload("ip", "daddr"), private_set()),
                   reject()));
    rule(commands, table, "forward",
         json_pack("[o, o, o]", from_links(), match("==", meta("nfproto"), json_string("ipv6")),
                   reject()));
    rule(commands, table, "input", json_pack("[o, o]", from_links(), reject()));
}

int nft_table_create(const struct nft_rules *rules, const json_t *links, struct error *err)
{
    const char *table = rules->table;
    json_t *commands = json_array();

    if (!commands)
        return error_oom(err);
    /* add before delete: deleting what is not there would fail the transaction */
    for (int i = 0; i < 3; i++)
        json_array_append_new(commands, json_pack("{s:{s:{s:s, s:s}}}", i == 1 ? "delete" : "add",
                                                  "table", "family", "inet", "name", table));
    json_array_append_new(commands,
                          json_pack("{s:{s:{s:s, s:s, s:s, s:s}}}", "add", "set", "family", "inet",
                                    "table", table, "name", "links", "type", "ifname"));
    json_array_append_new(commands, chain(table, "forward", "filter", "forward", 0));
    json_array_append_new(commands, chain(table, "input", "filter", "input", 0));
    json_array_append_new(commands, chain(table, "postrouting", "nat", "postrouting", 100));
    if (json_array_size(links) > 0)
        json_array_append_new(commands,
                              json_pack("{s:{s:{s:s, s:s, s:s, s:O}}}", "add", "element", "family",
                                        "inet", "table", table, "name", "links", "elem", links));
    forward_rules(commands, table);
    rule(
        commands, table, "postrouting",
        json_pack("[o, o]",
                  match("==", payload("ip", "saddr"), prefix_of(rules->subnet, (int)rules->prefix)),
                  json_pack("{s:n}", "masquerade")));
    return run(commands, err);
}

int nft_table_remove(const char *table, struct error *err)
{
    json_t *commands =
        json_pack("[{s:{s:{s:s, s:s}}}, {s:{s:{s:s, s:s}}}]", "add", "table", "family", "inet",
                  "name", table, "delete", "table", "family", "inet", "name", table);

    return commands ? run(commands, err) : error_oom(err);
}

static int change_links(const char *verb, const char *table, const char *link, struct error *err)
{
    json_t *commands = json_pack("[{s:{s:{s:s, s:s, s:s, s:[s]}}}]", verb, "element", "family",
                                 "inet", "table", table, "name", "links", "elem", link);

    return commands ? run(commands, err) : error_oom(err);
}

int nft_link_add(const char *table, const char *link, struct error *err)
{
    return change_links("add", table, link, err);
}

int nft_link_remove(const char *table, const char *link, struct error *err)
{
    return change_links("delete", table, link, err);
}
