/* The audit trail: who did what to which sandbox. Each request of a route that changes something or
 * opens a way to do so leaves one record (route_is_audited), also when it was refused.
 *
 * A record is the text of a JSON object, compact, with its members in this order:
 *   seq        1, 2, 3, ... without a gap
 *   time       ms since the epoch, when the answer was known
 *   subject    whose name the caller acted in (a key's owner, a JWT's `sub`), or null
 *   auth       "peer" (of the Unix socket), "api_key", "jwt", "account" or "none"; with `uid`
 * (peer) or `key` (an API key's id) address    of the peer, or null for the unix socket operation
 * method and pattern of the route, "POST /v1/sandboxes/{id}/exec" target     "sandboxes/ID",
 * "sessions/ID", "templates/NAME", ..., or null item       what the path names below the target,
 * such as a process; absent otherwise status     of the answer; 0: the client was gone before there
 * was one error      code of the answer, absent when there is none request    X-Request-Id of the
 * answer There is nothing of bodies, queries and headers in it. Records of our own have the
 * operation "audit.lost" or "audit.rate_limited" with `count`, or "audit.prune" with `through`, and
 * neither subject nor request.
 *
 * Its hash is the SHA-256, in hexadecimal, of the hash of the record before (64 zeros for the
 * first) and its text. So no record can be changed, removed, inserted or moved without those after
 * it being made anew; whoever can rewrite all of the database can do that, and can cut off the end.
 * Against that the log tells number and hash of the last record when the program starts and once a
 * day, and a cut is noticed by the program that wrote the records as long as it runs.
 *
 * Answers do not wait for their records: these are written within FLUSH_US, many in a transaction.
 * A program that is killed loses what it was to write in that time; a stop writes it all. While the
 * database is away QUEUE_MAX records are kept, then they are counted; so are refusals for want of
 * tokens (429), with which strangers could fill a disk. */
#pragma once

#include "api/api.h"
#include "api/store/audit.h"

#define AUDIT_DAY_MS ((int64_t)24 * 3600 * 1000)

struct audit;
struct audit_prune;
struct http_request;

/* NULL when out of memory. */
struct audit *audit_new(struct api *api);
/* Writes what a database that answers at once takes. */
void audit_end(struct audit *audit);
/* After the database is closed. */
void audit_free(struct audit *audit);

/* Adds the record of a request, once: when its answer is known, or when it ends without one. */
void audit_request(struct http_request *request);

/* Calls `done` when all is written: perhaps before it returns. */
void audit_drain(struct audit *audit, void (*done)(struct api *api));

/* The last record that is known to be written; {0, ""} before the first is. */
struct audit_place audit_written(const struct audit *audit);

/* Keeps records from being pruned between the two calls. */
void audit_hold(struct audit *audit);
void audit_release(struct audit *audit);
bool audit_is_held(const struct audit *audit);

/* Adds a record of our own; `written` is called once it is. False: it could not be added. */
bool audit_add_own(struct audit *audit, const char *operation, const char *name, int64_t value,
                   void (*written)(void *userdata), void *userdata);

/* record.c: a record's text but for its number, and what it is searched by. */
struct audit_entry {
    struct audit_entry *next;
    int64_t time_ms;
    char *subject, *target; /* "": none */
    char *text;
    void (*written)(void *userdata);
    void *userdata;
};
/* NULL when out of memory. */
struct audit_entry *audit_entry_of(const struct http_request *request);
struct audit_entry *audit_entry_own(const char *operation, const char *name, int64_t value);
void audit_entry_free(struct audit_entry *entry);

/* The text of an entry as record `seq`; NULL when out of memory. */
char *audit_entry_text(const struct audit_entry *entry, int64_t seq);
/* The hash of the record after the one with the hash `before`. -ENOMEM, -EIO. */
int audit_hash(const char *before, const char *record, char ret_hash[KEY_HASH_SIZE]);
#define AUDIT_FIRST_HASH "0000000000000000000000000000000000000000000000000000000000000000"

/* Of the one row of a result with the columns seq and hash; with no row it stays as it is. */
void audit_place_read(const struct db_result *result, struct audit_place *place);

/* prune.c: removes records older than [audit] keep_days, from now on four times a day. What is
 * removed first gets a record that says up to where, so that nobody can take more for pruned. NULL
 * when out of memory; free it after the database is closed. */
struct audit_prune *audit_prune_new(struct api *api);
void audit_prune_free(struct audit_prune *prune);
#define AUDIT_PRUNE "audit.prune" /* the operation */
