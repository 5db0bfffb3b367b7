/* Decoded queries and bodies of the sandbox routes, shared by the route table and the handlers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct sandbox_stop_body {
    int64_t grace_ms;
};

/* What PATCH may change: see sandbox.update in protocol.h. */
struct sandbox_patch_body {
    const char *name;
    json_t *labels, *limits, *egress;
    const char *access;
};

struct preview_token_body {
    int64_t expires_in_s; /* 0: an hour */
    int64_t port;         /* 0: the dev server's */
};

struct sandbox_list_query {
    json_t *labels; /* "name=value" strings, or NULL */
    const char *state, *cursor;
    int64_t limit;
};
