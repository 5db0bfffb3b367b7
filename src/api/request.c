/* Theory of operation: see request.h. libmicrohttpd calls request_step once when the head is there,
 * once for each piece of body, and once at the end; after a resume it repeats the call that was
 * suspended. The phase says which of these it is.
 *
 * A refusal that is known from the head alone still lets a small body in, since closing a
 * connection with unread bytes resets it, and the client would see the reset and not the answer. */
#include "api/request.h"

#include "api/audit/audit.h"
#include "api/http.h"
#include "api/owner.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/random.h>

#define DRAIN_MAX       (256u << 10) /* bytes of a refused body that are still read */
#define SECRET_BODY_MAX (16u << 10)

struct http_request *request_begin(struct api *api, struct http_listener *listener,
                                   enum http_transport transport, const char *target)
{
    struct http_request *request = calloc(1, sizeof(*request));
    uint64_t random = 0;

    if (!request)
        return NULL;
    request->api = api;
    request->listener = listener;
    request->transport = transport;
    request->started_ms = now_monotonic_ms();
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint64_t)(uintptr_t)request ^ (uint64_t)request->started_ms;
    snprintf(request->id, sizeof(request->id), "%016llx", (unsigned long long)random);
    uri_parse(target, &request->uri, &request->uri_error);
    http_track(api->http, request);
    return request;
}

static bool is_secret(const struct http_request *request)
{
    return request->route && (request->route->flags & ROUTE_SECRET);
}

/* What libmicrohttpd has of it lies in the memory of the connection, until that is used again. */
static void wipe_body(struct http_request *request)
{
    const char *name;
    json_t *value;

    if (request->body)
        explicit_bzero(request->body, request->body_size);
    json_object_foreach(request->body_json, name, value) if (json_is_string(value))
        explicit_bzero((char *)json_string_value(value), json_string_length(value));
}

void request_end(struct http_request *request)
{
    audit_request(request);
    if (is_secret(request))
        wipe_body(request);
    http_untrack(request->api->http, request);
    sd_event_source_disable_unref(request->hangup);
    sd_event_source_disable_unref(request->expiry);
    if (request->state_free && request->state)
        request->state_free(request->state);
    if (request->response)
        MHD_destroy_response(request->response);
    json_decref(request->query_json);
    json_decref(request->body_json);
    uri_free(&request->uri);
    free(request->body);
    free(request);
}

const char *http_get_header(struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static int refuse_method(struct http_request *request, unsigned int allowed, struct error *err)
{
    char list[64];

    method_list(allowed, list, sizeof(list));
    http_header(request, "Allow", "%s", list);
    return error_set_code(err, EINVAL, "method_not_allowed", "this path takes %s", list);
}

static int find_route(struct http_request *request, const char *method, struct error *err)
{
    static const char *const root[] = {""};
    const struct uri *uri = &request->uri;
    struct route_match match;

    if (request->uri_error.err) {
        *err = request->uri_error;
        return -err->err;
    }
    request->head = str_equal(method, "HEAD");
    route_match(routes, n_routes, method_parse(method), uri->is_root ? root : uri->segments,
                uri->is_root ? 1 : uri->n_segments, &match);
    if (!match.route && match.allowed)
        return refuse_method(request, match.allowed, err);
    if (!match.route)
        return error_set_code(err, ENOENT, "route_not_found", "there is nothing at this path");
    request->route = match.route;
    memcpy(request->captures, match.captures, sizeof(match.captures));
    return 0;
}

static int check_sandbox_id(struct http_request *request, struct error *err)
{
    if (!route_has_sandbox(request->route) || sandbox_id_valid(request->captures[0]))
        return 0;
    return error_set_code(err, ENOENT, "sandbox_not_found",
                          "`%.32s` is not a sandbox id (12 characters of a-z and 2-7)",
                          request->captures[0]);
}

static bool content_type_is_json(const char *type)
{
    static const char json[] = "application/json";

    while (isspace((unsigned char)*type))
        type++;
    if (strncasecmp(type, json, sizeof(json) - 1) != 0)
        return false;
    type += sizeof(json) - 1;
    return *type == '\0' || *type == ';' || isspace((unsigned char)*type);
}

static size_t body_max(const struct http_request *request)
{
    const struct config *config = &request->api->config;

    if (is_secret(request))
        return SECRET_BODY_MAX;
    return (size_t)(request->route->body_kind == BODY_STREAM ? config->api_max_upload
                                                             : config->api_max_body);
}

static int check_body_head(struct http_request *request, struct error *err)
{
    const char *type = http_get_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
    const char *length = http_get_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    size_t max = body_max(request);
    uint64_t bytes = 0;

    if (request->route->body_kind == BODY_JSON && type && !content_type_is_json(type))
        return error_set_code(err, EINVAL, "unsupported_media_type",
                              "the body must be application/json");
    if (length && (parse_u64(length, 0, UINT64_MAX, &bytes) < 0 || bytes > max))
        return error_set_code(err, EFBIG, "body_too_large", "the body may have at most %zu bytes",
                              max);
    return 0;
}

static int check_head(struct http_request *request, const char *method, struct error *err)
{
    int r = find_route(request, method, err);

    if (r == 0)
        r = check_sandbox_id(request, err);
    return r == 0 ? check_body_head(request, err) : r;
}

/* Before the route's own result: a stranger does not learn which paths exist. */
static void on_authenticated(struct http_request *request, const struct error *refused)
{
    if (refused) {
        request->n_headers = 0;
        auth_challenge(request, refused);
        http_fail(request, refused);
    } else if (request->refusal.err) {
        http_fail(request, &request->refusal);
    } else {
        request->admitted = true;
        http_continue(request);
    }
}

static enum MHD_Result queue_answer(struct http_request *request)
{
    struct MHD_Response *response = TAKE_PTR(request->response);
    enum MHD_Result result;

    request->phase = PHASE_DONE;
    if (!response)
        return MHD_NO;
    result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

void http_pause(struct http_request *request)
{
    if (request->suspended)
        return;
    request->suspended = true;
    MHD_suspend_connection(request->connection);
}

void http_continue(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    MHD_resume_connection(request->connection);
    http_wake(request->listener);
}

static json_t *query_value(enum field_type type, const char *text)
{
    uint64_t number;
    bool flag;

    if (type == FIELD_INT && parse_u64(text, 0, INT64_MAX, &number) == 0)
        return json_integer((json_int_t)number);
    if (type == FIELD_BOOL && *text == '\0')
        return json_true();
    if (type == FIELD_BOOL && parse_bool(text, &flag) == 0)
        return json_boolean(flag);
    return json_string(text);
}

static enum field_type query_type(const struct schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (str_equal(schema->fields[i].name, name))
            return schema->fields[i].type;
    return FIELD_ANY;
}

static int add_query_value(struct http_request *request, const char *name, const char *text,
                           struct error *err)
{
    enum field_type type = query_type(&request->route->query, name);
    json_t *list = json_object_get(request->query_json, name);

    /* The bearer token of a WebSocket stands in the query too; it is none of the handler's. */
    if ((request->route->flags & ROUTE_WEBSOCKET) && str_equal(name, "auth_token"))
        return 0;
    if (type != FIELD_STRING_ARRAY) {
        if (list)
            return error_set_field(err, name, "is given twice");
        return json_object_set_new(request->query_json, name, query_value(type, text)) < 0
                   ? error_oom(err)
                   : 0;
    }
    if (!list && json_object_set_new(request->query_json, name, list = json_array()) < 0)
        return error_oom(err);
    return json_array_append_new(list, json_string(text)) < 0 ? error_oom(err) : 0;
}

static int decode_query(struct http_request *request, struct error *err)
{
    const struct schema *schema = &request->route->query;

    request->query_json = json_object();
    if (!request->query_json)
        return error_oom(err);
    for (size_t i = 0; i < request->uri.n_query; i++) {
        int r =
            add_query_value(request, request->uri.query[i].name, request->uri.query[i].value, err);
        if (r < 0)
            return r;
    }
    return fields_decode(request->query_json, schema->fields, schema->n_fields, "?",
                         request->query_data.bytes, err);
}

static int decode_body(struct http_request *request, struct error *err)
{
    const struct schema *schema = &request->route->body;
    json_error_t where;

    if (request->route->body_kind != BODY_JSON)
        return 0;
    request->body_json = request->body_length == 0 ? json_object()
                                                   : json_loadb(request->body, request->body_length,
                                                                JSON_REJECT_DUPLICATES, &where);
    if (!request->body_json && request->body_length == 0)
        return error_oom(err);
    if (!request->body_json)
        return error_set_code(
            err, EINVAL, "malformed_json", "malformed JSON at line %d, column %d: %.100s",
            where.line, where.column,
            !is_secret(request) && utf8_valid(where.text, strlen(where.text)) ? where.text
                                                                              : "not JSON");
    return fields_decode(request->body_json, schema->fields, schema->n_fields, "",
                         request->body_data.bytes, err);
}

static void run_handler(struct http_request *request)
{
    struct error err = ERROR_NONE;
    int r = decode_query(request, &err);

    if (r == 0)
        r = decode_body(request, &err);
    if (r == 0)
        r = request->route->handler(request, request->query_data.bytes, request->body_data.bytes,
                                    &err);
    if (r < 0)
        http_fail(request, &err);
}

static void on_owner(struct http_request *request, const struct error *err)
{
    if (err)
        http_fail(request, err);
    else
        run_handler(request);
}

/* Runs the handler, at once or after the sandbox's owner has been asked for. The answer may be
 * there when this returns. */
static void dispatch(struct http_request *request)
{
    if (route_has_sandbox(request->route) && !request->who.admin)
        owner_check(request, request->captures[0], on_owner);
    else
        run_handler(request);
}

static enum MHD_Result settle(struct http_request *request)
{
    if (request->phase == PHASE_ANSWERED)
        return queue_answer(request);
    if (request->phase == PHASE_ACCEPTED)
        request->phase = PHASE_BODY;
    else
        http_pause(request);
    return MHD_YES;
}

static bool body_is_small(struct http_request *request)
{
    const char *length = http_get_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t bytes;

    if (http_get_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING))
        return false;
    return !length || parse_u64(length, 0, DRAIN_MAX, &bytes) == 0;
}

/* Once it is known whether it may. */
static enum MHD_Result end_admission(struct http_request *request)
{
    request->admission = false;
    if (!request->admitted) {
        if (!body_is_small(request))
            return queue_answer(request);
        request->phase = PHASE_REFUSED;
        return MHD_YES;
    }
    if (request->route->body_kind != BODY_STREAM) {
        request->phase = PHASE_BODY;
        return MHD_YES;
    }
    request->phase = PHASE_OPENING;
    dispatch(request);
    return settle(request);
}

static enum MHD_Result step_admission(struct http_request *request)
{
    if (request->admitted || request->phase == PHASE_ANSWERED)
        return end_admission(request);
    http_pause(request);
    return MHD_YES;
}

static enum MHD_Result step_new(struct http_request *request, const char *method)
{
    request->phase = PHASE_ADMISSION;
    request->admission = true;
    check_head(request, method, &request->refusal);
    auth_check(request, on_authenticated);
    return step_admission(request);
}

static int append_body(struct http_request *request, const char *data, size_t length,
                       struct error *err)
{
    size_t max = body_max(request);
    size_t needed = request->body_length + length;

    if (needed > max)
        return error_set_code(err, EFBIG, "body_too_large", "the body may have at most %zu bytes",
                              max);
    if (request->route->body_kind == BODY_NONE)
        return 0;
    if (needed > request->body_size) {
        /* one that is to be wiped is not left behind by growing */
        size_t size = is_secret(request) ? max : needed < 4096 ? 4096 : needed * 2;
        char *larger = realloc(request->body, size);
        if (!larger)
            return error_oom(err);
        request->body = larger;
        request->body_size = size;
    }
    memcpy(request->body + request->body_length, data, length);
    request->body_length = needed;
    return 0;
}

static void step_body(struct http_request *request, const char *data, size_t length)
{
    struct error err = ERROR_NONE;
    int r = request->body_write ? request->body_write(request, data, length, &err)
                                : append_body(request, data, length, &err);

    if (r == 0)
        return;
    http_fail(request, &err);
    request->phase = PHASE_REFUSED;
}

static enum MHD_Result step_end(struct http_request *request)
{
    struct error err = ERROR_NONE;

    request->phase = PHASE_HANDLING;
    if (!request->body_write)
        dispatch(request);
    else if (request->body_write(request, NULL, 0, &err) < 0)
        http_fail(request, &err);
    return settle(request);
}

enum MHD_Result request_step(struct http_request *request, struct MHD_Connection *connection,
                             const char *method, const char *data, size_t *data_length)
{
    size_t length = *data_length;

    request->connection = connection;
    *data_length = 0;
    if (request->api->ending && request->phase < PHASE_REFUSED)
        return MHD_NO;
    if (request->phase == PHASE_NEW)
        return step_new(request, method);
    if (request->admission)
        return step_admission(request);
    if (request->phase == PHASE_ANSWERED)
        return queue_answer(request);
    if (request->phase == PHASE_ACCEPTED && length == 0) {
        request->phase = PHASE_BODY;
        return MHD_YES;
    }
    if (request->phase == PHASE_BODY && length > 0) {
        step_body(request, data, length);
        return MHD_YES;
    }
    if (request->phase == PHASE_BODY)
        return step_end(request);
    if (request->phase == PHASE_REFUSED)
        return length > 0 ? MHD_YES : queue_answer(request);
    return MHD_NO;
}

static void add_transport_security(const struct http_request *request,
                                   struct MHD_Response *response)
{
    long long seconds = request->api->config.tls_hsts_s;
    char value[48];

    if (request->transport != HTTP_TLS || seconds == 0)
        return;
    snprintf(value, sizeof(value), "max-age=%lld", seconds);
    MHD_add_response_header(response, "Strict-Transport-Security", value);
}

void http_respond(struct http_request *request, unsigned int status, struct MHD_Response *response)
{
    if (request->phase == PHASE_ANSWERED || request->phase == PHASE_DONE) {
        if (response)
            MHD_destroy_response(response);
        return;
    }
    if (response) {
        MHD_add_response_header(response, "Server", "auracode");
        MHD_add_response_header(response, "X-Request-Id", request->id);
        add_transport_security(request, response);
    }
    for (size_t i = 0; response && i < request->n_headers; i++)
        MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    request->response = response;
    request->status = status;
    request->phase = PHASE_ANSWERED;
    audit_request(request);
    request->hangup = sd_event_source_disable_unref(request->hangup);
    http_continue(request);
}

void http_accept_body(struct http_request *request)
{
    request->phase = PHASE_ACCEPTED;
    http_continue(request);
}

static int on_hangup_event(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct http_request *request = userdata;

    (void)source;
    (void)fd;
    (void)events;
    request->hangup = sd_event_source_disable_unref(request->hangup);
    request->abort(request);
    return 0;
}

static int on_expired(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct http_request *request = userdata;

    (void)source;
    (void)usec;
    request->expiry = sd_event_source_disable_unref(request->expiry);
    request->abort(request);
    return 0;
}

/* What was begun with a good token is finished; what would go on and on (WebSockets, logs that are
 * followed) ends with it. Without memory for the timer it goes on. */
static void end_with_token(struct http_request *request)
{
    int64_t expires_ms = request->who.expires_ms;

    if (!request->route || request->route->method != METHOD_GET || expires_ms == 0 ||
        expires_ms == INT64_MAX || request->expiry)
        return;
    int r = sd_event_add_time(request->api->event, &request->expiry, CLOCK_REALTIME,
                              (uint64_t)expires_ms * 1000, 100000, on_expired, request);
    if (r < 0)
        log_warning("a token's end is not waited for: %s", strerror(-r));
}

void http_on_abort(struct http_request *request, void (*abort)(struct http_request *))
{
    request->abort = abort;
    end_with_token(request);
}

int http_watch_hangup(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (!info)
        return -EBADF;
    return sd_event_add_io(request->api->event, &request->hangup, info->connect_fd, EPOLLRDHUP,
                           on_hangup_event, request);
}
