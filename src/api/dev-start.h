/* Finds out what to run as a sandbox's dev server. In order: the command of the request, the script
 * of its package.json, the entry of its template. */
#pragma once

#include "api/dev-schema.h"
#include "api/request.h"

/* Calls `done` once, at once or later, with the parameters of the init's service.set (owned by it),
 * or with `err`. `body` must live until then. */
int dev_start(struct api *api, const char *sandbox, const struct dev_body *body,
              void (*done)(void *userdata, json_t *params, const struct error *err), void *userdata,
              struct error *err);
