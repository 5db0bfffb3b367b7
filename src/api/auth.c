/* Theory of operation: see auth.h. A key is 32 random bytes, so an unsalted SHA-256 of it cannot be
 * reversed by trying, and the store can look it up by its hash; what is compared in constant time
 * is the hash. A refused attempt costs the peer's address a token; an address without tokens gets
 * 429. A valid key is never refused for what others on its address did. */
#include "api/auth.h"

#include "api/key.h"
#include "api/request.h"
#include "api/store/store.h"
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

static int check_peer(struct http_request *request, struct error *err)
{
    const struct api *api = request->api;
    struct ucred peer;
    socklen_t length = sizeof(peer);
    int fd = connection_fd(request);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return error_sys(err, errno, "asking for the peer's credentials");
    bool member =
        api->admin_gid != (gid_t)-1 && (peer.gid == api->admin_gid || in_group(fd, api->admin_gid));
    if (peer.uid != 0 && peer.uid != geteuid() && !member)
        return error_set_code(err, EACCES, "forbidden",
                              "user %u is neither root nor in the group `%s`", peer.uid,
                              api->config.api_group);
    request->who.admin = true;
    request->who.scopes = SCOPE_ADMIN | SCOPE_SANDBOXES | SCOPE_READ;
    return 0;
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

static uint64_t address_key(struct http_request *request)
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
        return limiter_key(seed, &ip->sin6_addr, 8); /* one subscriber has a whole /64 */
    }
    return limiter_key(seed, "", 0);
}

static int refuse(struct http_request *request, const char *why, struct error *err)
{
    struct api *api = request->api;

    if (!limiter_take(&api->strangers, address_key(request), now_monotonic_ms()))
        return error_set_code(err, EACCES, "rate_limited",
                              "too many requests without a valid key from this address");
    return error_set_code(err, EACCES, "unauthenticated", "%s", why);
}

static int check_key(struct http_request *request, struct error *err)
{
    struct api *api = request->api;
    char buffer[KEY_TEXT_MAX];
    const char *token = auth_token(request, buffer, sizeof(buffer));
    char hash[KEY_HASH_SIZE];
    struct store_key key;

    if (!token)
        return refuse(request, "an API key is needed: Authorization: Bearer ak_…", err);
    if (key_hash(token, hash) < 0)
        return refuse(request, "the API key is malformed", err);
    int r = store_key_find(api->store, hash, &key, err);
    if (r == -ENOENT)
        return refuse(request, "the API key is unknown or revoked", err);
    if (r < 0)
        return r;
    if (!key_hash_equal(hash, key.hash))
        return refuse(request, "the API key is unknown or revoked", err);
    if (!limiter_take(&api->keys, limiter_key(api->limiter_seed, key.id, strlen(key.id)),
                      now_monotonic_ms()))
        return error_set_code(err, EACCES, "rate_limited", "too many requests with this key");
    if (now_realtime_ms() - key.last_used_at > USED_RESOLUTION_MS)
        store_key_touch(api->store, key.id, now_realtime_ms());
    request->who.scopes = key.scopes;
    request->who.admin = key.scopes & SCOPE_ADMIN;
    memcpy(request->who.owner, key.owner, sizeof(request->who.owner));
    return 0;
}

int auth_check(struct http_request *request, struct error *err)
{
    const struct route *route = request->route;

    if (route && (route->flags & ROUTE_PUBLIC))
        return 0;
    int r = request->trusted_transport ? check_peer(request, err) : check_key(request, err);
    if (r < 0 || !route || request->who.admin || (request->who.scopes & route->scope))
        return r;
    return error_set_code(err, EACCES, "forbidden", "the API key's scopes do not allow this");
}

void auth_challenge(struct http_request *request, const struct error *err)
{
    if (str_equal(err->code, "unauthenticated"))
        http_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"auracode\"");
    if (str_equal(err->code, "rate_limited"))
        http_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
}
