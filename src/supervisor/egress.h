/* Egress of sandboxes, as the supervisor sees it: what each may reach, told to the network helper
 * (net-helper.h), which it starts and keeps, and to auracode-resolver, by operations.
 *
 * Everything that the helper knows is known here as well, so it may be killed at any moment: the
 * rules in the kernel stay in force, and the next helper makes the table anew. */
#pragma once

#include "base/server.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct supervisor;
struct sandbox;

#define EGRESS_ADDRESSES_MAX 1024u /* that the resolver has found for one sandbox */

/* Of one sandbox. */
struct egress_state {
    bool linked;               /* it has a link, or shall get one */
    int resolver_fds[2];       /* UDP, TCP: where its programs ask; -1: nowhere */
    json_t *addresses;         /* that the resolver found: {"name","address","until"} */
    json_int_t counters[4];    /* nft.h, as last read */
    int64_t queries, refusals; /* of names, as the resolver has told */
};

/* Called once; `err->err` is 0 on success. The sandbox may be gone. */
typedef void (*egress_done_fn)(void *userdata, const struct error *err);

/* Starts the helper and reads the bundles. */
int egress_open(struct supervisor *supervisor, struct error *err);

/* After sandboxes were adopted: hands the helper the rules of those that run. */
int egress_begin(struct supervisor *supervisor, struct error *err);

/* Ends the helper, waits for it, and removes the table. */
void egress_close(struct supervisor *supervisor);

/* Reads the bundles again, all or nothing, and applies them to the sandboxes that run. */
int egress_reload(struct supervisor *supervisor, struct error *err);

/* Checks that every bundle is known and how many rules it comes to; `egress` passed
 * egress_check(). */
int egress_check_known(const struct supervisor *supervisor, const json_t *egress,
                       struct error *err);

/* The flat rules (without bundles) of `egress`; new reference, NULL when out of memory. */
json_t *egress_expand(const struct supervisor *supervisor, const json_t *egress);

/* Of a sandbox that is starting or runs: makes the resolver's sockets, then link and rules by the
 * helper, for `egress` instead of sandbox->spec's (NULL: that). `done` is called later. */
int egress_attach(struct sandbox *sandbox, const json_t *egress, egress_done_fn done,
                  void *userdata, struct error *err);

/* Changes the rules of one that has a link, likewise. */
int egress_set(struct sandbox *sandbox, const json_t *egress, egress_done_fn done, void *userdata,
               struct error *err);

/* Takes link, rules and sockets away, now or soon; it may be freed at once. */
void egress_detach(struct sandbox *sandbox);

/* Frees what is in the state. */
void egress_clear(struct egress_state *state);

/* The helper's counters of a sandbox, into its state; then `done`. */
int egress_read_counters(struct sandbox *sandbox, egress_done_fn done, void *userdata,
                         struct error *err);

/* The resolver has found `addresses` for `name`: those that rules of the sandbox allow are opened
 * for `seconds`, then `done`. Refused: an address that is not public, a name that no rule allows, a
 * sandbox that is not in mode allow. */
int egress_grant(struct sandbox *sandbox, const char *name, const json_t *addresses,
                 int64_t seconds, egress_done_fn done, void *userdata, struct error *err);

/* pid of the helper; 0: it does not run. */
pid_t egress_helper_pid(const struct supervisor *supervisor);
