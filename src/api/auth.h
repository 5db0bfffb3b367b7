/* Who asks. On the unix socket the kernel says: root, our own user and members of [api] group are
 * admins. Over TCP an API key or a JWT does, as `Authorization: Bearer …`; a WebSocket, to which
 * browsers add no header, may bring it as `?auth_token=` or as the subprotocol `bearer.TOKEN`. */
#pragma once

#include "api/api.h"
#include "api/db/db.h"
#include "api/key.h"
#include "base/error.h"

struct http_request;

enum auth_kind { AUTH_NONE, AUTH_PEER, AUTH_API_KEY, AUTH_JWT, AUTH_ACCOUNT };

struct principal {
    enum auth_kind kind;           /* AUTH_NONE: it is not known who asks, or need not be */
    uid_t uid;                     /* AUTH_PEER */
    char credential[DB_USER_SIZE]; /* id of the API key or account; what it has open ends with it */
    int64_t expires_ms;            /* since 1970, when what it came with ends; 0: never */
    bool admin;                    /* sees and does everything */
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

/* "peer", "api_key", "jwt" or "account". */
const char *auth_kind_name(enum auth_kind kind);

/* The client's address as a limiter's key: an IPv6 subscriber has a whole /64. */
uint64_t auth_address_key(struct http_request *request);

/* The bearer token of a request or NULL; `buffer` may hold it. */
const char *auth_token(struct http_request *request, char *buffer, size_t size);
