/* Decoded queries and bodies of the routes of webhooks, shared by the route table and the handlers.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WEBHOOK_FAILURES_MAX 256

struct webhook_body {
    const char *url, *secret;
    json_t *events;
    bool active;
};

struct webhook_failures_query {
    int64_t before, limit;
};

struct webhook_redeliver_body {
    int64_t delivery; /* 0: all */
};
