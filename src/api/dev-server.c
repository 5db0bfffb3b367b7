/* …/dev-server: what a sandbox's init keeps running as its service. */
#include "api/dev-start.h"
#include "api/handlers.h"

#include "api/dev-schema.h"
#include "api/dev-wait.h"
#include "api/inits.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>

#define WAIT_DEFAULT_MS 30000

static json_t *service_to_client(const struct http_request *request, json_t *service)
{
    const char *id = request->captures[0];
    cleanup_free char *url = sandbox_url(request->api, id, 0);
    json_t *copy = json_is_object(service) ? json_copy(service) : NULL;
    json_int_t port = json_integer_value(json_object_get(copy, "port"));
    json_t *path = port > 0 ? json_sprintf("/p/%s/%d/", id, (int)port) : json_null();

    if (!copy) {
        json_decref(path);
        return NULL;
    }
    if (!url || json_object_set_new(copy, "url", json_string(url)) < 0 ||
        json_object_set_new(copy, "path", path) < 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static void reply_service(struct http_request *request, json_t *service)
{
    http_reply(request, 200, service_to_client(request, service));
}

static void on_state(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        reply_service(request, json_object_get(result, "service"));
}

static void ask_state(struct http_request *request, rpc_reply_fn reply)
{
    init_call(request->api, request->captures[0], "service.get", json_object(), -1, reply, request);
}

static void on_waited(struct http_request *request, json_t *service, const struct error *err)
{
    if (err)
        http_fail(request, err);
    else if (service)
        reply_service(request, service);
    else
        ask_state(request, on_state);
}

static void reply_or_wait(struct http_request *request, json_t *service)
{
    const struct dev_query *query = (const void *)request->query_data.bytes;

    if (!query->wait || dev_state_settled(service))
        reply_service(request, service);
    else
        dev_wait(request, request->captures[0],
                 query->timeout_ms ? query->timeout_ms : WAIT_DEFAULT_MS, on_waited);
}

static void on_service(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        reply_or_wait(request, json_object_get(result, "service"));
}

HANDLER(dev_server_get)
{
    (void)query;
    (void)body;
    (void)err;
    ask_state(request, on_service);
    return 0;
}

HANDLER(dev_server_stop)
{
    (void)query;
    (void)body;
    (void)err;
    init_call(request->api, request->captures[0], "service.stop", json_object(), -1, on_state,
              request);
    return 0;
}

static void on_command(void *userdata, json_t *params, const struct error *err)
{
    struct http_request *request = userdata;

    if (err)
        http_fail(request, err);
    else
        init_call(request->api, request->captures[0], "service.set", params, -1, on_service,
                  request);
}

HANDLER(dev_server_put)
{
    struct dev_body *params = body;

    (void)query;
    if (!json_object_get(request->body_json, "auto_restart"))
        params->auto_restart = true;
    return dev_start(request->api, request->captures[0], params, on_command, request, err);
}

static void on_ports(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    json_t *ports = json_object_get(result, "ports"), *entry;
    size_t i;

    (void)fds;
    json_array_foreach(ports, i, entry)
    {
        json_int_t port = json_integer_value(json_object_get(entry, "port"));
        cleanup_free char *url =
            port > 0 && port <= 65535
                ? sandbox_url(request->api, request->captures[0], (unsigned int)port)
                : NULL;
        if (url)
            json_object_set_new(entry, "url", json_string(url));
    }
    reply_with_result(request, NULL, result, err);
}

HANDLER(port_list)
{
    (void)query;
    (void)body;
    (void)err;
    init_call(request->api, request->captures[0], "ports.list", json_object(), -1, on_ports,
              request);
    return 0;
}
