/* Whose sandbox it is. Only callers that are not admins are asked about; another's sandbox answers
 * exactly as one that does not exist. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct http_request;

/* Calls `done` at once or later; `err` is NULL when the caller owns the sandbox. */
void owner_check(struct http_request *request, const char *sandbox,
                 void (*done)(struct http_request *request, const struct error *err));

/* True when the caller may see this sandbox object. */
bool owner_may_see(const struct http_request *request, const json_t *sandbox);
