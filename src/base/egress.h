/* What a sandbox may reach, as requests, policies and the configuration say it:
 *
 *   "none" | "restricted" | {"mode":"none"|"restricted"} |
 *   {"mode":"allow","rules":[
 *       {"domain":"registry.npmjs.org" or "*.npmjs.org","ports":[443]?,"protocol":"tcp"|"udp"?},
 *       {"cidr":"1.2.3.0/24","ports":[..]?,"protocol":..?},
 *       {"bundle":"npm"}]}
 *
 * "*.npmjs.org" is every name below npmjs.org, at any depth, not npmjs.org itself. Names that are
 * not ASCII are written as punycode (xn--...). Without ports all are meant, without protocol every
 * one (with ports: TCP and UDP). On the command line and in the configuration a rule is text:
 * NAME[:PORT[+PORT]...], ADDRESS[/LENGTH][:PORT...] or the name of a bundle. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EGRESS_RULES_MAX 64u  /* of one sandbox; a bundle is one of them */
#define EGRESS_PORTS_MAX 16u  /* of one rule */
#define DOMAIN_MAX       253u /* bytes of a name without its last dot, RFC 1035 2.3.4 */

enum egress_mode { EGRESS_NONE, EGRESS_RESTRICTED, EGRESS_ALLOW };

extern const char *const egress_choices[]; /* the modes' names, NULL at the end */

enum egress_kind { EGRESS_DOMAIN, EGRESS_CIDR, EGRESS_BUNDLE };

/* A rule, decoded; strings are borrowed. */
struct egress_rule {
    enum egress_kind kind;
    const char *name;     /* the domain, the bundle or the text of the network */
    const char *protocol; /* "tcp", "udp" or NULL: both */
    uint16_t ports[EGRESS_PORTS_MAX];
    size_t n_ports; /* 0: all */
    uint32_t base;  /* of a network, host byte order */
    unsigned int prefix;
};

/* Checks all that can be checked without knowing the bundles; errors name the field below `field`,
 * "egress.rules[2].ports[0]". NULL is fine. */
int egress_check(const json_t *egress, const char *field, struct error *err);

/* Of something that egress_check() passed. */
enum egress_mode egress_mode(const json_t *egress);
const char *egress_mode_name(const json_t *egress);

/* The array of its rules, borrowed; NULL: none. */
json_t *egress_rules(const json_t *egress);

/* Decodes and checks one rule; `field` is its place in errors. */
int egress_rule_decode(const json_t *value, const char *field, struct egress_rule *ret_rule,
                       struct error *err);

/* The first rule whose network is not public (special.h): -EPERM, code "egress_forbidden", naming
 * it. For those who may name public networks only. */
int egress_check_public(const json_t *egress, struct error *err);

/* A rule from its text. */
int egress_rule_from_text(const char *text, json_t **ret_rule, struct error *err);

/* {"mode","rules"} from a mode's name and a list of such texts, separated by commas ("": none);
 * the mode's name alone where it is not allow. */
int egress_from_text(const char *mode, const char *list, json_t **ret_egress, struct error *err);

/* Letters, digits, `-`, `_` and dots, labels of 1 to 63, no dot last; with `wildcard` "*." may go
 * before it. */
bool domain_valid(const char *name, bool wildcard);

/* Whether `name` is meant by `pattern`; case does not matter. */
bool domain_matches(const char *pattern, const char *name);
