/* Theory of operation: see auth.h. A key is 32 random bytes, so an unsalted SHA-256 of it cannot be
 * reversed by trying, and the store can look it up by its hash; what is compared in constant time
 * is the hash. A refused attempt costs the peer's address a token; an address without tokens gets
 * 429. A valid key is never refused for what others on its address did. */
#include "api/auth.h"

#include "api/account/accounts.h"
#include "api/jwt.h"
#include "api/key.h"
#include "api/request.h"
#include "api/store/keys.h"
#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define USED_RESOLUTION_MS                                                                         \
    60000 /* how exactly last_used_at is kept: a write a minute, not a request */
#define GROUPS_MAX 1024

static bool in_group(int fd, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    socklen_t length = sizeof(groups);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0)
        return false;
    for (size_t i = 0; i < length / sizeof(gid_t); i++)
        if (groups[i] == gid)
            return true;
    return false;
}

static int connection_fd(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    return info ? info->connect_fd : -1;
}

const char *auth_kind_name(enum auth_kind kind)
{
    static const char *const names[] = {
        [AUTH_NONE] = "none", [AUTH_PEER] = "peer",       [AUTH_API_KEY] = "api_key",
        [AUTH_JWT] = "jwt",   [AUTH_ACCOUNT] = "account",
    };

    return names[kind];
}

/* `credential`: see struct principal; "" has none. */
static int become(struct http_request *request, enum auth_kind kind, const char *credential,
                  const char *owner, unsigned int scopes, struct error *err)
{
    struct principal *who = &request->who;

    who->kind = kind;
    snprintf(who->credential, sizeof(who->credential), "%s", credential);
    who->scopes = scopes;
    who->admin = scopes & SCOPE_ADMIN;
    snprintf(who->owner, sizeof(who->owner), "%s", owner);
    /* an admin without a name of its own has sessions too */
    return user_of_owner(*owner ? owner : "admin", who->user) < 0 ? error_oom(err) : 0;
}

static int check_peer(struct http_request *request, struct error *err)
{
    const struct api *api = request->api;
    struct ucred peer;
    socklen_t length = sizeof(peer);
    int fd = connection_fd(request);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return error_sys(err, errno, "asking for the peer's credentials");
    request->who.kind = AUTH_PEER;
    request->who.uid = peer.uid;
    bool member =
        api->admin_gid != (gid_t)-1 && (peer.gid == api->admin_gid || in_group(fd, api->admin_gid));
    if (peer.uid != 0 && peer.uid != geteuid() && !member)
        return error_set_code(err, EACCES, "forbidden",
                              "user %u is neither root nor in the group `%s`", peer.uid,
                              api->config.api_group);
    return become(request, AUTH_PEER, "", "", SCOPE_ADMIN | SCOPE_SANDBOXES | SCOPE_READ, err);
}

static const char *from_subprotocol(struct http_request *request, char *buffer, size_t size)
{
    const char *list = http_get_header(request, "Sec-WebSocket-Protocol");

    while (list && *list) {
        list += strspn(list, ", \t");
        size_t length = strcspn(list, ", \t");
        if (length > 7 && length - 7 < size && strncmp(list, "bearer.", 7) == 0) {
            memcpy(buffer, list + 7, length - 7);
            buffer[length - 7] = '\0';
            return buffer;
        }
        list += length;
    }
    return NULL;
}

const char *auth_token(struct http_request *request, char *buffer, size_t size)
{
    const char *header = http_get_header(request, MHD_HTTP_HEADER_AUTHORIZATION);

    if (header && strncasecmp(header, "Bearer ", 7) == 0)
        return header + 7 + strspn(header + 7, " ");
    if (!request->route || !(request->route->flags & ROUTE_WEBSOCKET))
        return NULL;
    const char *parameter = uri_query(&request->uri, "auth_token");
    return parameter ? parameter : from_subprotocol(request, buffer, size);
}

uint64_t auth_address_key(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    uint64_t seed = request->api->limiter_seed;

    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *ip = (const struct sockaddr_in *)address;
        return limiter_key(seed, &ip->sin_addr, sizeof(ip->sin_addr));
    }
    if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *ip = (const struct sockaddr_in6 *)address;
        return limiter_key(seed, &ip->sin6_addr, 8);
    }
    return limiter_key(seed, "", 0);
}

static int refuse(struct http_request *request, const char *why, struct error *err)
{
    struct api *api = request->api;

    if (!limiter_take(&api->strangers, auth_address_key(request), now_monotonic_ms()))
        return error_set_code(err, EACCES, "rate_limited",
                              "too many requests without a valid key from this address");
    return error_set_code(err, EACCES, "unauthenticated", "%s", why);
}

/* A check that waits for the database. */
struct check {
    struct http_request *request;
    void (*done)(struct http_request *request, const struct error *err);
    char hash[KEY_HASH_SIZE]; /* of an API key */
    struct jwt_claims claims; /* of an account's token */
};

static int admit_key(struct http_request *request, const struct store_key *key, struct error *err)
{
    struct api *api = request->api;
    int64_t now_ms = now_realtime_ms();

    request->who.kind = AUTH_API_KEY;
    snprintf(request->who.credential, sizeof(request->who.credential), "%s", key->id);
    if (!limiter_take(&api->keys, limiter_key(api->limiter_seed, key->id, strlen(key->id)),
                      now_monotonic_ms()))
        return error_set_code(err, EACCES, "rate_limited", "too many requests with this key");
    if (now_ms - key->last_used_at > USED_RESOLUTION_MS)
        keys_touch(api->db, key->id, now_ms);
    return become(request, AUTH_API_KEY, key->id, key->owner, key->scopes, err);
}

static int check_scope(struct http_request *request, struct error *err)
{
    const struct route *route = request->route;

    if (!route || request->who.admin || (request->who.scopes & route->scope))
        return 0;
    return error_set_code(err, EACCES, "forbidden", "the API key's scopes do not allow this");
}

static void on_key(void *userdata, const struct db_result *results, const struct error *failure)
{
    struct check check = *(struct check *)userdata;
    struct http_request *request = check.request;
    struct error err = failure ? *failure : ERROR_NONE;
    struct store_key key = {.id = ""};

    free(userdata);
    if (!failure && results[0].rows > 0)
        key_from_row(&results[0], 0, &key);
    int r = failure ? -failure->err : 0;
    if (r == 0 && (results[0].rows == 0 || !key_hash_equal(check.hash, key.hash)))
        r = refuse(request, "the API key is unknown or revoked", &err);
    if (r == 0)
        r = admit_key(request, &key, &err);
    if (r == 0)
        r = check_scope(request, &err);
    check.done(request, r < 0 ? &err : NULL);
}

/* 1: `done` is called later, or has been. */
static int check_key(struct http_request *request, const char *token,
                     void (*done)(struct http_request *, const struct error *), struct error *err)
{
    cleanup_free struct check *check = calloc(1, sizeof(*check));

    if (!check)
        return error_oom(err);
    check->request = request;
    check->done = done;
    if (key_hash(token, check->hash) < 0)
        return refuse(request, "the API key is malformed", err);
    const char *hash = check->hash;
    keys_find(request->api->db, hash, on_key, TAKE_PTR(check));
    return 1;
}

static void on_account(void *userdata, bool good, const struct error *failure)
{
    cleanup_free struct check *check = userdata;
    struct http_request *request = check->request;
    const struct jwt_claims *claims = &check->claims;
    struct error err = failure ? *failure : ERROR_NONE;
    int r = failure ? -failure->err : 0;

    if (r == 0 && !good)
        r = refuse(request, "the user's tokens were ended: log in again", &err);
    if (r == 0)
        r = become(request, AUTH_ACCOUNT, claims->owner, claims->owner, claims->scopes, &err);
    if (r == 0)
        r = check_scope(request, &err);
    check->done(request, r < 0 ? &err : NULL);
}

/* 1: `done` is called later, or has been. */
static int check_account(struct http_request *request, const struct jwt_claims *claims,
                         void (*done)(struct http_request *, const struct error *),
                         struct error *err)
{
    struct check *check = calloc(1, sizeof(*check));

    if (!check)
        return error_oom(err);
    *check = (struct check){.request = request, .done = done, .claims = *claims};
    account_check(request->api->accounts, check->claims.owner, claims->epoch, on_account, check);
    return 1;
}

static int check_token(struct http_request *request,
                       void (*done)(struct http_request *, const struct error *), struct error *err)
{
    char buffer[JWT_TEXT_MAX];
    struct jwt_claims claims;
    const char *token = auth_token(request, buffer, sizeof(buffer));

    if (!token)
        return refuse(request, "an API key or a JWT is needed: Authorization: Bearer TOKEN", err);
    if (!jwt_looks_like(token))
        return check_key(request, token, done, err);
    int r = jwt_verify(request->api->jwt, token, now_realtime_ms(), &claims, err);
    if (r < 0) {
        char reason[200];
        snprintf(reason, sizeof(reason), "%.190s", err->message);
        return refuse(request, reason, err);
    }
    request->who.expires_ms = claims.expires_ms;
    if (claims.account)
        return check_account(request, &claims, done, err);
    return become(request, AUTH_JWT, "", claims.owner, claims.scopes, err);
}

void auth_check(struct http_request *request,
                void (*done)(struct http_request *request, const struct error *err))
{
    struct error err = ERROR_NONE;
    int r = 0;

    if (!request->route || !(request->route->flags & ROUTE_PUBLIC))
        r = request->transport == HTTP_UNIX ? check_peer(request, &err)
                                            : check_token(request, done, &err);
    if (r == 1)
        return;
    if (r == 0 && request->route && !(request->route->flags & ROUTE_PUBLIC))
        r = check_scope(request, &err);
    done(request, r < 0 ? &err : NULL);
}

void auth_challenge(struct http_request *request, const struct error *err)
{
    if (str_equal(err->code, "unauthenticated"))
        http_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"auracode\"");
    if (str_equal(err->code, "rate_limited"))
        http_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
}
