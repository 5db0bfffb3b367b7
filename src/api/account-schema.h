/* Decoded bodies and queries of the routes of accounts, shared by the route table and the handlers.
 */
#pragma once

#include <stdbool.h>

struct login_body {
    const char *user, *password;
};

struct user_body {
    const char *name, *password;
    bool disabled;
};

struct user_query {
    const char *name;
};
