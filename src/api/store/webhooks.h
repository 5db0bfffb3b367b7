/* Webhooks and their deliveries. All of it is DB_SERVICE's: whose a webhook is, is part of each
 * question. */
#pragma once

#include "api/db/db.h"

#include <jansson.h>

#define WEBHOOK_ID_SIZE  DB_USER_SIZE /* a UUID */
#define WEBHOOKS_MAX     32           /* of an owner */
#define DELIVERIES_MAX   "10000"      /* that wait for one webhook; more are not kept */
#define DELIVERIES_CLAIM 16

struct webhook {
    const char *id, *owner, *user, *url, *secret, *events; /* events: JSON text */
    bool everything, active;
    int64_t created_at;
};

/* Who asks: an administrator sees all of them. */
struct webhook_asker {
    const char *owner;
    bool admin;
};

/* Results: 0 a row if it was added; none: the owner has WEBHOOKS_MAX. */
void webhook_add(struct db *db, const struct webhook *webhook, db_done_fn done, void *userdata);
/* Results: 0 those of the asker, with `id` (NULL: all) that one or no row; columns as webhook_read.
 */
void webhook_list(struct db *db, const struct webhook_asker *asker, const char *id, db_done_fn done,
                  void *userdata);
/* NULL and -1: not given. Results: 0 a row if it was there. */
struct webhook_patch {
    const char *url, *secret, *events;
    int active;
};
void webhook_update(struct db *db, const struct webhook_asker *asker, const char *id,
                    const struct webhook_patch *patch, db_done_fn done, void *userdata);
/* Its deliveries go with it. Results: 0 a row if it was there. */
void webhook_delete(struct db *db, const struct webhook_asker *asker, const char *id,
                    db_done_fn done, void *userdata);
/* Borrowed from the result. */
void webhook_read(const struct db_result *result, size_t row, struct webhook *ret_webhook);

void delivery_add(struct db *db, const char *webhook, const char *type, const char *body,
                  int64_t now_ms, db_done_fn done, void *userdata);
/* Takes up to `limit` that are due, whose webhooks are active, and sets them to be due again at
 * `lease_ms`. Results: 0 them, as delivery_read; 1 when the next one is due, or NULL. */
void deliveries_claim(struct db *db, int64_t now_ms, int64_t lease_ms, int64_t limit,
                      db_done_fn done, void *userdata);
void delivery_done(struct db *db, int64_t id);
/* It failed: to be tried at `next_ms`, or with `dead` no more. */
void delivery_failed(struct db *db, int64_t id, int64_t status, const char *error, int64_t next_ms,
                     bool dead, db_done_fn done, void *userdata);
/* Results: 0 a row if the webhook is there; 1 those that are dead, the last first, `limit` + 1 at
 * most, before `before` (0: all). */
void deliveries_dead(struct db *db, const struct webhook_asker *asker, const char *webhook,
                     int64_t before, int64_t limit, db_done_fn done, void *userdata);
/* Dead ones are to be sent again: `id`, or with 0 all of the webhook's. Results: 0 a row if the
 * webhook is there; 1 their ids. */
void deliveries_revive(struct db *db, const struct webhook_asker *asker, const char *webhook,
                       int64_t id, int64_t now_ms, db_done_fn done, void *userdata);
/* Those that died before `time_ms` are forgotten. */
void deliveries_forget(struct db *db, int64_t time_ms);

struct delivery {
    int64_t id, attempts, created_at, status;
    const char *webhook, *type, *body, *error;
};
void delivery_read(const struct db_result *result, size_t row, struct delivery *ret_delivery);
