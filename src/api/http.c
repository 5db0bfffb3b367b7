/* Theory of operation: see http.h. A daemon's epoll descriptor becomes readable when one of its
 * connections has something to do. After each run a timer is set to what the daemon asks for: an
 * idle timeout, or at once when work is left. Connections that we resume show in neither:
 * http_wake. */
#include "api/http.h"

#include "api/request.h"
#include "api/tls-front.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>

#define CONNECTION_MEMORY      (64u << 10) /* head and read buffer; more head is 431 or 414 */
#define CONNECTION_MEMORY_STEP (16u << 10)
#define IDLE_TIMEOUT_S         60u

struct http_listener {
    struct http *http;
    struct MHD_Daemon *daemon;
    struct tls_front *front; /* HTTP_TLS */
    enum http_transport transport;
    sd_event_source *io, *timer, *wake;
};

struct http {
    struct api *api;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    size_t n_listeners;
    struct http_request *requests;
    void (*idle)(struct api *api);
};

void http_track(struct http *http, struct http_request *request)
{
    request->next = http->requests;
    if (request->next)
        request->next->previous = request;
    http->requests = request;
}

void http_untrack(struct http *http, struct http_request *request)
{
    if (request->previous)
        request->previous->next = request->next;
    else
        http->requests = request->next;
    if (request->next)
        request->next->previous = request->previous;
    if (!http->requests && http->idle)
        http->idle(http->api);
}

static void *on_target(void *userdata, const char *target, struct MHD_Connection *connection)
{
    struct http_listener *listener = userdata;

    (void)connection;
    return request_begin(listener->http->api, listener, listener->transport, target);
}

static enum MHD_Result on_access(void *userdata, struct MHD_Connection *connection,
                                 const char *path, const char *method, const char *version,
                                 const char *data, size_t *data_length, void **state)
{
    (void)userdata;
    (void)path;
    (void)version;
    if (!*state) /* request_begin had no memory */
        return MHD_NO;
    return request_step(*state, connection, method, data, data_length);
}

static void on_completed(void *userdata, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)userdata;
    (void)connection;
    (void)code;
    if (*state)
        request_end(*state);
    *state = NULL;
}

static void run(struct http_listener *listener)
{
    unsigned long long timeout_ms;

    MHD_run(listener->daemon);
    if (MHD_get_timeout(listener->daemon, &timeout_ms) != MHD_YES) {
        sd_event_source_set_enabled(listener->timer, SD_EVENT_OFF);
        return;
    }
    sd_event_source_set_time_relative(listener->timer, (uint64_t)timeout_ms * 1000);
    sd_event_source_set_enabled(listener->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    (void)source;
    (void)fd;
    (void)events;
    run(userdata);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    run(userdata);
    return 0;
}

static int on_wake(sd_event_source *source, void *userdata)
{
    (void)source;
    run(userdata);
    return 0;
}

void http_wake(struct http_listener *listener)
{
    sd_event_source_set_enabled(listener->wake, SD_EVENT_ONESHOT);
}

/* A connection that the front has taken the TLS off. */
static int on_accepted(void *userdata, int fd, const struct sockaddr *address, socklen_t length)
{
    struct http_listener *listener = userdata;

    if (MHD_add_connection(listener->daemon, fd, address, length) != MHD_YES)
        return -1;
    http_wake(listener);
    return 0;
}

/* `fd` -1: connections are added. */
static struct MHD_Daemon *start_daemon(struct http_listener *listener, int fd)
{
    const struct config *config = &listener->http->api->config;
    unsigned int most = (unsigned int)config->api_max_connections;
    unsigned int of_address = (unsigned int)config->api_max_connections_per_address;
    unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
                         (fd < 0 ? (unsigned int)MHD_USE_NO_LISTEN_SOCKET : 0u);
    struct MHD_OptionItem listen[] = {{MHD_OPTION_LISTEN_SOCKET, fd, NULL},
                                      {MHD_OPTION_END, 0, NULL}};

    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, listener, MHD_OPTION_ARRAY, fd < 0 ? &listen[1] : listen,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        listener, MHD_OPTION_CONNECTION_LIMIT, most, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        listener->transport == HTTP_UNIX ? 0u : of_address, MHD_OPTION_CONNECTION_TIMEOUT,
        IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)CONNECTION_MEMORY_STEP,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static int watch(struct http_listener *listener, struct error *err)
{
    sd_event *event = listener->http->api->event;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    if (!info)
        return error_set(err, EIO, "libmicrohttpd has no epoll descriptor");
    int r = sd_event_add_io(event, &listener->io, info->epoll_fd, EPOLLIN, on_io, listener);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &listener->timer, CLOCK_MONOTONIC, 0, 1000, on_timer,
                                       listener);
    if (r >= 0)
        r = sd_event_add_defer(event, &listener->wake, on_wake, listener);
    return r < 0 ? error_sys(err, r, "watching libmicrohttpd") : 0;
}

int http_new(struct api *api, struct error *err)
{
    api->http = calloc(1, sizeof(*api->http));
    if (!api->http)
        return error_oom(err);
    api->http->api = api;
    return 0;
}

int http_listen(struct http *http, int fd, enum http_transport transport, struct error *err)
{
    if (http->n_listeners >= HTTP_LISTENERS_MAX)
        return error_set(err, E2BIG, "more than %u listening sockets", HTTP_LISTENERS_MAX);
    struct http_listener *listener = &http->listeners[http->n_listeners];
    bool tls = transport == HTTP_TLS;
    /* The daemon closes its socket when it stops; ours must outlive it. */
    cleanup_close int copy = tls ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (!tls && copy < 0)
        return error_sys(err, errno, "duplicating the listening socket");
    *listener = (struct http_listener){.http = http, .transport = transport};
    listener->daemon = start_daemon(listener, copy);
    if (!listener->daemon)
        return error_set(err, EIO, "libmicrohttpd did not start");
    TAKE_FD(copy);
    http->n_listeners++;
    int r = watch(listener, err);
    if (r == 0 && tls)
        r = tls_front_new(http->api, fd, on_accepted, listener, &listener->front, err);
    return r;
}

void http_quiesce(struct http *http, void (*idle)(struct api *api))
{
    for (size_t i = 0; i < http->n_listeners; i++) {
        struct http_listener *listener = &http->listeners[i];
        int fd = listener->front ? -1 : MHD_quiesce_daemon(listener->daemon);
        if (listener->front)
            tls_front_stop(listener->front);
        if (fd >= 0)
            close(fd);
    }
    http->idle = idle;
    if (!http->requests)
        idle(http->api);
}

/* `credential` NULL: of everyone. */
static void abort_of(struct http *http, const char *credential)
{
    struct http_request *next;

    for (struct http_request *request = http->requests; request; request = next) {
        next = request->next;
        if (request->abort && (!credential || str_equal(request->who.credential, credential)))
            request->abort(request);
    }
}

void http_abort_all(struct http *http)
{
    abort_of(http, NULL);
}

void http_abort_credential(struct http *http, const char *credential)
{
    if (*credential) /* "" is what those have who came without one */
        abort_of(http, credential);
}

void http_run(struct http *http)
{
    /* One turn takes up what was resumed, the next sends, the last ends what is done. */
    for (int turn = 0; turn < 3; turn++)
        for (size_t i = 0; i < http->n_listeners; i++)
            MHD_run(http->listeners[i].daemon);
}

void http_free(struct http *http)
{
    if (!http)
        return;
    http->idle = NULL;
    for (size_t i = 0; i < http->n_listeners; i++) {
        sd_event_source_disable_unref(http->listeners[i].io);
        sd_event_source_disable_unref(http->listeners[i].timer);
        sd_event_source_disable_unref(http->listeners[i].wake);
        MHD_stop_daemon(http->listeners[i].daemon);
        tls_front_free(http->listeners[i].front);
    }
    free(http);
}
