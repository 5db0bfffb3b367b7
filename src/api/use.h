/* Tells the supervisor that a sandbox is used, so that it does not pause it as idle ([sandbox]
 * idle_timeout): by each request to its init, and for as long as a command runs for a client.
 * Listening alone (events, watches, logs) is no use. Without a timeout nothing is told. */
#pragma once

#include "api/api.h"

/* It is used now. `told_at`: when that was last told (ms), kept by the caller. */
void use_once(struct api *api, const char *sandbox, int64_t *told_at);

/* It is used until use_end (NULL is fine). NULL: nothing to tell, or out of memory. */
struct use *use_begin(struct api *api, const char *sandbox);
void use_end(struct use *use);
