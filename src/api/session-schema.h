/* Decoded queries and bodies of the session routes, shared by the route table and the handlers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SESSION_PAGE_MAX 256

struct session_list_query {
    const char *cursor;
    int64_t limit;
};

struct session_body {
    const char *title, *description, *sandbox_id, *thumbnail, *iframe_url, *user;
    bool is_active;
};

struct session_remove_query {
    bool sandbox;
};

struct message_list_query {
    int64_t since, before, limit;
};

struct message_body {
    const char *id, *type, *content, *sender;
    int64_t timestamp;
    json_t *message_data;
};

struct chat_query {
    const char *role; /* "user" or "agent"; NULL: user */
    int64_t since;
    bool acks;
};
