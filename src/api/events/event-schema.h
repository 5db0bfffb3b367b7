/* The decoded queries of /v1/events and browser-errors, shared by the route table and the handlers.
 */
#pragma once

#include <stdint.h>

struct event_query {
    const char *sandbox;
    int64_t since;
};

struct browser_query {
    int64_t since;
};
