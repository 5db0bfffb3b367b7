/* The keys of [auth] jwks_url, where that is a URL of http(s): auracode-fetch hands them over, the
 * API takes them, and STATE/jwks.json keeps them for a start without network. Nothing here looks
 * into them. */
#pragma once

#include "supervisor/supervisor.h"

#include "base/server.h"

/* Whether there is anything to fetch. */
bool jwks_wanted(const struct config *config);

/* What was kept of this URL becomes supervisor->jwks_fd; nothing kept is no error. */
void jwks_open(struct supervisor *supervisor);

/* Operations of protocol.h. */
int op_jwks_put(struct request *request, void *params, struct error *err);
int op_jwks_get(struct request *request, void *params, struct error *err);
int op_jwks_refresh(struct request *request, void *params, struct error *err);
