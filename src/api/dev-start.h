/* Finds out what to run as a sandbox's dev server. In order: the command of the request, the script
 * of its package.json, the entry of its template. */
#pragma once

#include "api/dev-schema.h"
#include "api/request.h"

/* Calls `done` with the parameters of the init's service.set (owned by it), or with `err`. Uses the
 * request's state. */
int dev_start(struct http_request *request, const struct dev_body *body,
              void (*done)(struct http_request *request, json_t *params, const struct error *err),
              struct error *err);
