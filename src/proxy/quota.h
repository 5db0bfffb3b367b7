/* What one sandbox may take of the proxy: connections at a time and bytes a second, over all
 * threads. */
#pragma once

#include "proxy/client.h"

/* Counts the client in at its site; false if the site has max_connections_per_sandbox already. */
bool quota_enter(struct client *client);
/* Counts it out, if it was counted in. */
void quota_leave(struct client *client);

/* Charges the site for what has moved since the last call. */
void quota_charge(struct client *client);

/* Transfers in one turn of the client: where the bandwidth has a limit one, since a turn moves what
 * it can and owes the rest, or a peer that reads at once would get megabytes and then nothing. */
unsigned int quota_rounds(const struct client *client);

/* Whether the sandbox has used up bandwidth_per_sandbox: nothing more should move for a while. */
bool quota_exhausted(const struct client *client);
