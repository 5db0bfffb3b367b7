/* Decoded query and body of the dev server's routes, shared by the route table and the handlers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct dev_body {
    json_t *command; /* a shell line or an argv */
    json_t *env;
    int64_t port; /* 0: not given */
    bool auto_restart;
    bool path_form; /* it is told to serve below /p/ID/PORT */
};

struct dev_query {
    const char *wait; /* "ready" or NULL */
    int64_t timeout_ms;
};
