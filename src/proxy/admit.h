/* Who may go on to a private sandbox, and for how long. */
#pragma once

#include "proxy/client.h"

/* A request whose sandbox is known. False: it has been answered (401, 403, a redirect, a preflight)
 * or closed. A public sandbox costs one load of an atomic and a look for a query. */
bool admit(struct client *client);

/* After news of the site's sandbox: closes what is not entitled any more. */
void admit_review(struct worker *worker, struct site *site);

/* Closes what was opened with tokens that have expired since. */
void admit_expire(struct worker *worker);

/* ms until that is to be done again, at most a minute; -1: never. */
int admit_wait_ms(const struct worker *worker);
