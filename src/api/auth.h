/* Who asks. On the unix socket the kernel says: root, our own user and members of [api] group are
 * admins. Over TCP an API key does, as `Authorization: Bearer ak_…`; a WebSocket, to which browsers
 * add no header, may bring it as `?auth_token=` or as the subprotocol `bearer.TOKEN`. */
#pragma once

#include "api/api.h"
#include "api/db/db.h"
#include "api/key.h"
#include "base/error.h"

struct http_request;

enum auth_how { AUTH_NONE, AUTH_UNIX, AUTH_KEY, AUTH_JWT };

struct principal {
    enum auth_how how;     /* it is known who asks; AUTH_NONE: it is not, or need not be */
    uid_t uid;             /* AUTH_UNIX */
    char key[KEY_ID_SIZE]; /* AUTH_KEY: its id */
    bool admin;            /* sees and does everything */
    unsigned int scopes;
    char owner[OWNER_MAX + 1];
    char user[DB_USER_SIZE]; /* the owner as a user of the database (store/users.h) */
};

/* Fills request->who and calls `done`, at once or when the database has answered. `err` is NULL
 * when the request may go on; else its code is "unauthenticated", "forbidden", "rate_limited" or
 * "database_unavailable". With no route (nothing matched) it only asks who it is. */
void auth_check(struct http_request *request,
                void (*done)(struct http_request *request, const struct error *err));

/* The headers that belong to such a refusal. */
void auth_challenge(struct http_request *request, const struct error *err);

/* The bearer token of a request or NULL; `buffer` may hold it. */
const char *auth_token(struct http_request *request, char *buffer, size_t size);
