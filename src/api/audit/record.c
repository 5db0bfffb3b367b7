/* Theory of operation: see audit.h. What a record names comes from the route's pattern: its first
 * capture belongs to the collection before it, "/v1/sandboxes/{id}/exec" to "sandboxes/ID"; for
 * what a request has made the Location header says the same. */
#include "api/audit/audit.h"

#include "api/request.h"
#include "api/store/users.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PREFIX         "/v1/"
#define NAME_MAX_BYTES 128 /* of what a path names */

/* An API key that somebody put into a path is none of the trail's; what is long names nothing. */
static const char *shown(const char *name)
{
    if (str_starts(name, "ak_"))
        return "(an API key)";
    return strlen(name) > NAME_MAX_BYTES ? "(a long name)" : name;
}

static const char *location_of(const struct http_request *request)
{
    for (size_t i = 0; i < request->n_headers; i++)
        if (str_equal(request->headers[i].name, MHD_HTTP_HEADER_LOCATION))
            return request->headers[i].value;
    return NULL;
}

static char *target_of(const struct http_request *request)
{
    const char *pattern = request->route->pattern, *name = request->captures[0];
    const char *capture = strchr(pattern, '{'), *location = location_of(request);
    char uuid[DB_USER_SIZE];

    if (capture && uuid_parse(name, uuid) == 0) /* in lower case, as it is searched by */
        name = uuid;
    if (capture && str_starts(pattern, PREFIX))
        return str_format("%.*s%s", (int)(capture - pattern) - (int)strlen(PREFIX),
                          pattern + strlen(PREFIX), shown(name));
    if (location && str_starts(location, PREFIX))
        return strdup(location + strlen(PREFIX));
    return strdup("");
}

/* NULL: none, as for the unix socket. */
static const char *address_of(const struct http_request *request, char *text, size_t size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const struct sockaddr_in *ip4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)address;

    if (address && address->sa_family == AF_INET)
        return inet_ntop(AF_INET, &ip4->sin_addr, text, (socklen_t)size);
    if (address && address->sa_family == AF_INET6)
        return inet_ntop(AF_INET6, &ip6->sin6_addr, text, (socklen_t)size);
    return NULL;
}

/* Takes what is given; NULL if one of them is NULL. */
static struct audit_entry *entry_new(int64_t time_ms, char *subject, char *target, json_t *members)
{
    struct audit_entry *entry = calloc(1, sizeof(*entry));
    char *text = members ? json_dumps(members, JSON_COMPACT) : NULL;
    struct audit_entry given = {
        .time_ms = time_ms, .subject = subject, .target = target, .text = text};

    json_decref(members);
    if (entry)
        *entry = given;
    if (entry && subject && target && text)
        return entry;
    if (!entry) {
        free(subject);
        free(target);
        free(text);
    }
    audit_entry_free(entry);
    return NULL;
}

struct audit_entry *audit_entry_of(const struct http_request *request)
{
    const struct principal *who = &request->who;
    const char *item = request->captures[1];
    int64_t time_ms = now_realtime_ms();
    char *target = target_of(request);
    char address[INET6_ADDRSTRLEN];

    json_t *members = json_pack(
        "{s:I, s:s?, s:s, s:o*, s:s*, s:s?, s:s++, s:s?, s:s*, s:i, s:s*, s:s}", "time",
        (json_int_t)time_ms, "subject", *who->owner ? who->owner : NULL, "auth",
        auth_kind_name(who->kind), "uid", who->kind == AUTH_PEER ? json_integer(who->uid) : NULL,
        "key", who->kind == AUTH_API_KEY ? who->credential : NULL, "address",
        address_of(request, address, sizeof(address)), "operation",
        method_name(request->route->method), " ", request->route->pattern, "target",
        target && *target ? target : NULL, "item", item ? shown(item) : NULL, "status",
        (int)request->status, "error", *request->error_code ? request->error_code : NULL, "request",
        request->id);
    return entry_new(time_ms, strdup(who->owner), target, members);
}

struct audit_entry *audit_entry_own(const char *operation, const char *name, int64_t value)
{
    int64_t time_ms = now_realtime_ms();

    return entry_new(time_ms, strdup(""), strdup(""),
                     json_pack("{s:I, s:n, s:s, s:n, s:s, s:n, s:i, s:I}", "time",
                               (json_int_t)time_ms, "subject", "auth", auth_kind_name(AUTH_NONE),
                               "address", "operation", operation, "target", "status", 0, name,
                               (json_int_t)value));
}

void audit_entry_free(struct audit_entry *entry)
{
    if (!entry)
        return;
    free(entry->subject);
    free(entry->target);
    free(entry->text);
    free(entry);
}

char *audit_entry_text(const struct audit_entry *entry, int64_t seq)
{
    return str_format("{\"seq\":%lld,%s", (long long)seq, entry->text + strlen("{"));
}

int audit_hash(const char *before, const char *record, char ret_hash[KEY_HASH_SIZE])
{
    cleanup_free char *text = str_format("%s%s", before, record);

    return text ? digest_hex(text, strlen(text), ret_hash) : -ENOMEM;
}

void audit_place_read(const struct db_result *result, struct audit_place *place)
{
    const char *hash = result->rows ? db_text(result, 0, 1) : NULL;

    if (!hash)
        return;
    place->seq = db_int(result, 0, 0);
    snprintf(place->hash, sizeof(place->hash), "%s", hash);
}
