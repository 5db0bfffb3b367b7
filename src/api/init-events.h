/* What the inits tell by themselves, for whoever wants to hear of a sandbox: events
 * ("service.state", "files", "ports", "process.exit") and the loss of the connection. The
 * connection is kept while somebody listens. */
#pragma once

#include "api/api.h"

#include <jansson.h>

struct init_listener;

struct init_handler {
    void (*event)(void *userdata, const char *name, json_t *event);
    void (*lost)(void *userdata); /* the connection: the sandbox has ended, or its init has */
};

/* NULL when out of memory. Makes no connection: the first call to the init does (inits.h). */
struct init_listener *init_listen(struct api *api, const char *sandbox,
                                  const struct init_handler *handler, void *userdata);
/* Allowed from inside the callbacks. NULL is fine. */
void init_unlisten(struct init_listener *listener);

bool init_has_listener(struct api *api, const char *sandbox);

/* For inits.c. */
void init_events_tell(struct api *api, const char *sandbox, const char *name, json_t *event);
void init_events_lost(struct api *api, const char *sandbox);
