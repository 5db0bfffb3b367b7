/* Theory of operation: see tls-front.h. Each connection is two sockets, the client's and one end of
 * a pair whose other end libmicrohttpd has, and a buffer each way. `pump` moves what can be moved
 * whenever one of the sockets has an event, and watches for what the next move needs: a full buffer
 * is not read into, so whoever does not read slows the other side down. */
#include "api/tls-front.h"

#include "base/cleanup.h"
#include "tls/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

#define CONNECTIONS_MAX     1024u
#define CONNECTIONS_ADDRESS 64u
#define BUFFER_SIZE         16384u /* one TLS record */
#define HANDSHAKE_US        (10 * (uint64_t)1000000)
#define LINGER_US           (2 * (uint64_t)1000000)

enum tls_state { STATE_HANDSHAKE, STATE_OPEN, STATE_LINGER };

struct flow {
    char *data; /* BUFFER_SIZE bytes while something is in it */
    size_t start, length;
    bool ended; /* the source has */
    bool shut;  /* ... and the sink was told */
};

struct tls_connection {
    struct tls_front *front;
    struct tls_connection *next, **link; /* link: what points to this one */
    struct sockaddr_storage address;
    socklen_t address_length;
    struct tls *tls;
    int net, inner;
    enum tls_state state;
    struct flow up, down; /* from the client, to the client */
    sd_event_source *net_source, *inner_source, *timer;
};

struct tls_front {
    struct api *api;
    int fd;
    sd_event_source *source;
    tls_front_accepted_fn accepted;
    void *userdata;
    struct tls_connection *connections;
    unsigned int count;
    bool stopped;
};

static void watch_listener(struct tls_front *front)
{
    bool wanted = !front->stopped && front->count < CONNECTIONS_MAX;

    if (front->source)
        sd_event_source_set_enabled(front->source, wanted ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void connection_free(struct tls_connection *connection)
{
    struct tls_front *front = connection->front;

    *connection->link = connection->next;
    if (connection->next)
        connection->next->link = connection->link;
    front->count--;
    sd_event_source_disable_unref(connection->net_source);
    sd_event_source_disable_unref(connection->inner_source);
    sd_event_source_disable_unref(connection->timer);
    tls_free(connection->tls);
    close_and_forget(&connection->net);
    close_and_forget(&connection->inner);
    free(connection->up.data);
    free(connection->down.data);
    free(connection);
    watch_listener(front);
}

/* ---- moving
 * ------------------------------------------------------------------------------------------- */

/* One read into an empty buffer. 1: got something, 0: nothing now, else a negative errno. */
static int fill(struct flow *flow, struct tls *tls, int fd)
{
    if (flow->length > 0 || flow->ended)
        return 0;
    if (!flow->data && !(flow->data = malloc(BUFFER_SIZE)))
        return -ENOMEM;
    ssize_t n = tls ? tls_read(tls, flow->data, BUFFER_SIZE)
                    : recv(fd, flow->data, BUFFER_SIZE, MSG_DONTWAIT);
    int failure = tls ? (int)n : -errno;
    if (n < 0)
        return failure == -EAGAIN || failure == -EINTR ? 0 : failure;
    flow->start = 0;
    flow->length = (size_t)n;
    flow->ended = n == 0;
    return 1;
}

/* One write out of the buffer, and the end once all is written. As fill. */
static int drain(struct flow *flow, struct tls *tls, int fd)
{
    if (flow->length > 0) {
        ssize_t n =
            tls ? tls_write(tls, flow->data + flow->start, flow->length)
                : send(fd, flow->data + flow->start, flow->length, MSG_DONTWAIT | MSG_NOSIGNAL);
        int failure = tls ? (int)n : -errno;
        if (n < 0)
            return failure == -EAGAIN || failure == -EINTR ? 0 : failure;
        flow->start += (size_t)n;
        flow->length -= (size_t)n;
        return n > 0;
    }
    if (!flow->ended || flow->shut)
        return 0;
    int r = tls ? tls_bye(tls) : 0;
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    flow->shut = true;
    shutdown(fd, SHUT_WR);
    return 1;
}

static void trim(struct flow *flow)
{
    if (flow->length > 0)
        return;
    free(flow->data);
    flow->data = NULL;
}

/* Moves until nothing moves; both sockets' buffers bound how much that is. */
static int move_all(struct tls_connection *connection)
{
    struct tls *tls = connection->tls;
    int moved;

    do {
        int r[] = {fill(&connection->up, tls, connection->net),
                   drain(&connection->up, NULL, connection->inner),
                   fill(&connection->down, NULL, connection->inner),
                   drain(&connection->down, tls, connection->net)};
        moved = 0;
        for (size_t i = 0; i < ELEMENTS(r); i++) {
            if (r[i] < 0)
                return r[i];
            moved |= r[i];
        }
    } while (moved);
    trim(&connection->up);
    trim(&connection->down);
    return 0;
}

static void watch_both(struct tls_connection *connection)
{
    const struct flow *up = &connection->up, *down = &connection->down;
    bool farewell = down->ended && !down->shut;
    uint32_t net = (up->length == 0 && !up->ended ? EPOLLIN : 0) |
                   (down->length > 0 || farewell ? EPOLLOUT : 0);
    uint32_t inner =
        (down->length == 0 && !down->ended ? EPOLLIN : 0) | (up->length > 0 ? EPOLLOUT : 0);

    sd_event_source_set_io_events(connection->net_source, net);
    sd_event_source_set_io_events(connection->inner_source, inner);
    /* A hang-up is reported even where nothing is watched for. */
    sd_event_source_set_enabled(connection->inner_source, inner ? SD_EVENT_ON : SD_EVENT_OFF);
    sd_event_source_set_enabled(connection->net_source, net ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void set_timer(struct tls_connection *connection, uint64_t usec)
{
    sd_event_source_set_time_relative(connection->timer, usec);
    sd_event_source_set_enabled(connection->timer, SD_EVENT_ONESHOT);
}

/* Our side is over: what the client still sends is read away, lest it resets what we sent. */
static void run_linger(struct tls_connection *connection)
{
    char sink[4096];
    ssize_t n;

    do
        n = recv(connection->net, sink, sizeof(sink), MSG_DONTWAIT);
    while (n > 0);
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        connection_free(connection);
}

static void start_linger(struct tls_connection *connection)
{
    connection->state = STATE_LINGER;
    connection->inner_source = sd_event_source_disable_unref(connection->inner_source);
    close_and_forget(&connection->inner);
    sd_event_source_set_io_events(connection->net_source, EPOLLIN);
    sd_event_source_set_enabled(connection->net_source, SD_EVENT_ON);
    set_timer(connection, LINGER_US);
    run_linger(connection);
}

static void pump(struct tls_connection *connection)
{
    if (move_all(connection) < 0)
        connection_free(connection);
    else if (connection->down.shut)
        start_linger(connection);
    else
        watch_both(connection);
}

static int on_inner(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    (void)source;
    (void)fd;
    (void)events;
    pump(userdata);
    return 0;
}

/* ---- beginning
 * ---------------------------------------------------------------------------------------- */

static int open_inner(struct tls_connection *connection)
{
    struct tls_front *front = connection->front;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    connection->inner = pair[0];
    if (sd_event_add_io(front->api->event, &connection->inner_source, pair[0], EPOLLIN, on_inner,
                        connection) < 0 ||
        front->accepted(front->userdata, pair[1], (struct sockaddr *)&connection->address,
                        connection->address_length) < 0) {
        close(pair[1]);
        return -EMFILE;
    }
    return 0;
}

static void run_handshake(struct tls_connection *connection)
{
    int r = tls_handshake(connection->tls);

    if (r == -EAGAIN) {
        sd_event_source_set_io_events(connection->net_source,
                                      tls_wants_write(connection->tls) ? EPOLLOUT : EPOLLIN);
        return;
    }
    if (r == 0)
        r = open_inner(connection);
    if (r < 0) {
        connection_free(connection);
        return;
    }
    connection->state = STATE_OPEN;
    sd_event_source_set_enabled(connection->timer, SD_EVENT_OFF);
    pump(connection);
}

static int on_net(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    static void (*const handlers[])(struct tls_connection *) = {
        [STATE_HANDSHAKE] = run_handshake, [STATE_OPEN] = pump, [STATE_LINGER] = run_linger};
    struct tls_connection *connection = userdata;

    (void)source;
    (void)fd;
    (void)events;
    handlers[connection->state](connection);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    connection_free(userdata);
    return 0;
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static bool has_too_many(const struct tls_front *front, const struct sockaddr_storage *address)
{
    unsigned int count = 0;

    for (const struct tls_connection *c = front->connections; c; c = c->next)
        count += same_host(&c->address, address);
    return count >= CONNECTIONS_ADDRESS;
}

static int watch_net(struct tls_connection *connection)
{
    sd_event *event = connection->front->api->event;
    int r = sd_event_add_io(event, &connection->net_source, connection->net, EPOLLIN, on_net,
                            connection);

    if (r >= 0)
        r = sd_event_add_time_relative(event, &connection->timer, CLOCK_MONOTONIC, HANDSHAKE_US,
                                       1000, on_timer, connection);
    return r;
}

/* Takes `fd`. */
static void begin(struct tls_front *front, int fd, const struct sockaddr_storage *address,
                  socklen_t length)
{
    static const char *const protocols[] = {"http/1.1"};
    struct tls_connection *connection = calloc(1, sizeof(*connection));
    int one = 1;

    if (!connection) {
        close(fd);
        return;
    }
    *connection = (struct tls_connection){.front = front,
                                          .next = front->connections,
                                          .link = &front->connections,
                                          .address = *address,
                                          .address_length = length,
                                          .net = fd,
                                          .inner = -1};
    if (connection->next)
        connection->next->link = &connection->next;
    front->connections = connection;
    front->count++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    connection->tls = tls_new(&front->api->tls, fd, protocols, ELEMENTS(protocols));
    if (!connection->tls || watch_net(connection) < 0)
        connection_free(connection);
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct tls_front *front = userdata;
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    int client = accept4(fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)source;
    (void)events;
    if (client < 0)
        return 0;
    if (has_too_many(front, &address))
        close(client);
    else
        begin(front, client, &address, length);
    watch_listener(front);
    return 0;
}

int tls_front_new(struct api *api, int fd, tls_front_accepted_fn accepted, void *userdata,
                  struct tls_front **ret_front, struct error *err)
{
    struct tls_front *front = calloc(1, sizeof(*front));

    if (!front)
        return error_oom(err);
    *front = (struct tls_front){.api = api, .fd = fd, .accepted = accepted, .userdata = userdata};
    int r = sd_event_add_io(api->event, &front->source, fd, EPOLLIN, on_listener, front);
    if (r < 0) {
        free(front);
        return error_sys(err, r, "watching the TLS listener");
    }
    *ret_front = front;
    return 0;
}

void tls_front_stop(struct tls_front *front)
{
    front->stopped = true;
    watch_listener(front);
}

void tls_front_free(struct tls_front *front)
{
    if (!front)
        return;
    for (struct tls_connection *connection = front->connections, *next; connection;
         connection = next) {
        next = connection->next;
        if (connection->state == STATE_OPEN)
            move_all(connection);
        connection_free(connection);
    }
    sd_event_source_disable_unref(front->source);
    free(front);
}
