/* Webhooks: events of sandboxes (events/hub.h), sent to URLs.
 *
 * Each event that a webhook asks for becomes a delivery in the database, and is sent by
 * auracode-hook (hook/job.h): a POST with the event's JSON and the headers
 *   X-Auracode-Event      its type
 *   X-Auracode-Delivery   a number of the delivery, the same each time that it is tried
 *   X-Auracode-Signature  t=UNIX,v1=HEX: seconds since the epoch, and HMAC-SHA256 by the webhook's
 *                         secret of the text "UNIX.BODY"
 * A status from 200 to 299 within 10 s is success. Else it is tried again after [webhooks] retry
 * seconds, then twice as long each time (an hour at most), until [webhooks] give_up seconds after
 * the event; then it is dead and kept for WEBHOOKS_DEAD_DAYS, to be read and sent again. So a
 * delivery arrives at least once, in no particular order. One whose event is beyond
 * WEBHOOK_BODY_MAX bytes has `data` null and `truncated` true. */
#pragma once

#include "api/api.h"
#include "api/store/webhooks.h"

#define WEBHOOK_BODY_MAX   24576u
#define WEBHOOKS_DEAD_DAYS 30
#define WEBHOOK_SECRET_MAX 256

struct webhooks;

/* NULL when out of memory. Free it after the database is closed, and the events are. */
struct webhooks *webhooks_new(struct api *api);
void webhooks_free(struct webhooks *webhooks);

/* They were changed: reads them again. */
void webhooks_changed(struct webhooks *webhooks);
/* There is something to send. */
void webhooks_wake(struct webhooks *webhooks);

/* link.c: the channel to auracode-hook. */
struct webhook_link;
typedef void (*webhook_told_fn)(struct webhooks *webhooks, int64_t delivery, int64_t status,
                                const char *error);
struct webhook_link *webhook_link_new(struct api *api, struct webhooks *webhooks,
                                      webhook_told_fn told);
void webhook_link_free(struct webhook_link *link);
/* Asks for the channel if there is none; webhooks_wake is called when it is there. */
bool webhook_link_ready(struct webhook_link *link);
/* A negative errno: it was not taken. */
int webhook_link_send(struct webhook_link *link, const struct delivery *delivery,
                      const struct webhook *webhook);

/* sign.c: "t=UNIX,v1=HEX"; NULL when out of memory. */
char *webhook_signature(const char *secret, int64_t unix_s, const char *body);
