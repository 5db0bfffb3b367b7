/* Decoded bodies of the template, policy and token routes, shared by the route table and the
 * handlers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct template_body {
    const char *name, *sandbox, *description;
    json_t *dev;
    bool consume;
};

struct policy_body {
    const char *text, *file;
};

struct token_body {
    const char *name, *owner;
    json_t *scopes;
};
