/* The decoded query of /v1/events, shared by the route table and the handler. */
#pragma once

#include <stdint.h>

struct event_query {
    const char *sandbox;
    int64_t since;
};
