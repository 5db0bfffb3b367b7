/* Templates: TEMPLATES/NAME/template.json and TEMPLATES/NAME/layer/, read-only trees with their own
 * ids on disk. A template stands on its parent's layers. */
#pragma once

#include "supervisor/supervisor.h"

/* The chain of layer names, lowest first; new reference. code template_not_found. */
int template_layers(struct supervisor *supervisor, const char *name, json_t **ret_layers,
                    struct error *err);
json_t *template_list(struct supervisor *supervisor, struct error *err);
json_t *template_read(struct supervisor *supervisor, const char *name, struct error *err);
int template_remove(struct supervisor *supervisor, const char *name, struct error *err);

struct template_spec {
    const char *name, *sandbox, *description;
    json_t *dev;
    bool consume;
};

struct request;
/* From a stopped sandbox; answers the request itself, after the copy. */
int template_create(struct supervisor *supervisor, const struct template_spec *spec,
                    struct request *request, struct error *err);
