/* Theory of operation: see upstream.h. A lookup has one socket at a time; anything that is not a
 * sound answer from the server that it is connected to is not looked at twice, and the try goes on
 * until its time is over. */
#include "resolver/upstream.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

struct lookup {
    struct upstream *upstream;
    struct question question;
    lookup_done_fn done;
    void *userdata;
    unsigned int tries;
    uint16_t id;
    bool tcp;
    int fd;
    sd_event_source *io, *timer;
    uint8_t *out, *in; /* over TCP, with the length before it */
    size_t out_length, out_at, in_at;
};

static void set_server(struct upstream *upstream, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    const char *colon = strchr(text, ':');
    cleanup_free char *host = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
    uint64_t port = 53;

    if (!host || upstream->n_servers == SERVERS_MAX ||
        (colon && parse_u64(colon + 1, 1, 65535, &port) < 0) ||
        inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return;
    address.sin_port = htons((uint16_t)port);
    upstream->servers[upstream->n_servers++] = address;
}

void upstream_set_servers(struct upstream *upstream, const json_t *servers)
{
    size_t i;
    json_t *server;

    upstream->n_servers = 0;
    json_array_foreach(servers, i, server) if (json_is_string(server))
        set_server(upstream, json_string_value(server));
}

static void end_try(struct lookup *lookup)
{
    lookup->io = sd_event_source_disable_unref(lookup->io);
    lookup->timer = sd_event_source_disable_unref(lookup->timer);
    close_and_forget(&lookup->fd);
    free(lookup->out);
    free(lookup->in);
    lookup->out = lookup->in = NULL;
    lookup->out_at = lookup->in_at = 0;
}

void lookup_cancel(struct lookup *lookup)
{
    end_try(lookup);
    lookup->upstream->lookups--;
    free(lookup);
}

static void finish(struct lookup *lookup, int r, struct answer *answer)
{
    lookup_done_fn done = lookup->done;
    void *userdata = lookup->userdata;
    struct upstream *upstream = lookup->upstream;

    lookup_cancel(lookup);
    done(userdata, r, answer);
    if (r == -ETIMEDOUT && upstream->on_silence)
        upstream->on_silence(upstream->userdata);
}

static int begin_try(struct lookup *lookup, bool tcp);

static void next_try(struct lookup *lookup)
{
    end_try(lookup);
    if (lookup->tries >= TRIES_MAX || begin_try(lookup, false) < 0)
        finish(lookup, -ETIMEDOUT, NULL);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    next_try(userdata);
    return 0;
}

/* A server that cannot answer is as good as silent. */
static bool is_failure(const struct answer *answer)
{
    return answer->rcode != LDNS_RCODE_NOERROR && answer->rcode != LDNS_RCODE_NXDOMAIN;
}

static void take_answer(struct lookup *lookup, const uint8_t *wire, size_t length)
{
    struct answer answer = {0};
    int r = answer_parse(wire, length, lookup->id, &lookup->question, &answer);

    if (r == -EMSGSIZE && !lookup->tcp) {
        end_try(lookup);
        lookup->tries--; /* the same server once more */
        if (begin_try(lookup, true) < 0)
            finish(lookup, -ETIMEDOUT, NULL);
        return;
    }
    if (r == -EPERM) {
        finish(lookup, r, NULL);
        return;
    }
    bool failed = r == 0 && is_failure(&answer);
    if (r == 0 && !failed)
        finish(lookup, 0, &answer);
    else if (failed || lookup->tcp)
        next_try(lookup);
    answer_clear(&answer);
}

static int on_datagram(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct lookup *lookup = userdata;
    uint8_t wire[PACKET_MAX];

    (void)source;
    (void)revents;
    ssize_t n = recv(fd, wire, sizeof(wire), 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        next_try(lookup); /* nobody listens there */
    else if (n > 0)
        take_answer(lookup, wire, (size_t)n);
    return 0;
}

static size_t wanted(const struct lookup *lookup)
{
    return lookup->in_at < 2 ? 2 : 2 + ((size_t)lookup->in[0] << 8 | lookup->in[1]);
}

static int read_stream(struct lookup *lookup)
{
    while (lookup->in_at < wanted(lookup)) {
        ssize_t n = recv(lookup->fd, lookup->in + lookup->in_at, wanted(lookup) - lookup->in_at, 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
            return -ECONNRESET;
        lookup->in_at += (size_t)n;
    }
    return 1;
}

static int write_stream(struct lookup *lookup)
{
    ssize_t n = send(lookup->fd, lookup->out + lookup->out_at, lookup->out_length - lookup->out_at,
                     MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    lookup->out_at += (size_t)n;
    if (lookup->out_at == lookup->out_length)
        sd_event_source_set_io_events(lookup->io, EPOLLIN);
    return 0;
}

static int on_stream(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct lookup *lookup = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    int r = lookup->out_at < lookup->out_length ? write_stream(lookup) : read_stream(lookup);
    if (r < 0)
        next_try(lookup);
    else if (r > 0) {
        uint8_t *wire = lookup->in;
        size_t length = wanted(lookup) - 2;
        lookup->in = NULL;
        take_answer(lookup, wire + 2, length);
        free(wire);
    }
    return 0;
}

static int prepare_stream(struct lookup *lookup, const uint8_t *wire, size_t length)
{
    lookup->out = malloc(length + 2);
    lookup->in = malloc(PACKET_TCP_MAX + 2);
    if (!lookup->out || !lookup->in)
        return -ENOMEM;
    lookup->out[0] = (uint8_t)(length >> 8);
    lookup->out[1] = (uint8_t)length;
    memcpy(lookup->out + 2, wire, length);
    lookup->out_length = length + 2;
    return 0;
}

static int open_socket(struct lookup *lookup, const struct sockaddr_in *server)
{
    int type = lookup->tcp ? SOCK_STREAM : SOCK_DGRAM;

    lookup->fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (lookup->fd < 0)
        return -errno;
    if (connect(lookup->fd, (const struct sockaddr *)server, sizeof(*server)) < 0 &&
        errno != EINPROGRESS)
        return -errno;
    return 0;
}

static int send_question(struct lookup *lookup)
{
    size_t length;
    cleanup_free uint8_t *wire = question_to_wire(&lookup->question, lookup->id, &length);

    if (!wire)
        return -ENOMEM;
    if (lookup->tcp)
        return prepare_stream(lookup, wire, length);
    /* a server that is not there is told by the socket later */
    send(lookup->fd, wire, length, MSG_NOSIGNAL);
    return 0;
}

static int begin_try(struct lookup *lookup, bool tcp)
{
    struct upstream *upstream = lookup->upstream;

    if (upstream->n_servers == 0)
        return -ENOTCONN;
    const struct sockaddr_in *server = &upstream->servers[lookup->tries++ % upstream->n_servers];
    lookup->tcp = tcp;
    if (getrandom(&lookup->id, sizeof(lookup->id), 0) != (ssize_t)sizeof(lookup->id))
        return -EIO;
    int r = open_socket(lookup, server);
    if (r == 0)
        r = send_question(lookup);
    if (r == 0)
        r = sd_event_add_io(upstream->event, &lookup->io, lookup->fd, tcp ? EPOLLOUT : EPOLLIN,
                            tcp ? on_stream : on_datagram, lookup);
    if (r >= 0)
        r = sd_event_add_time_relative(upstream->event, &lookup->timer, CLOCK_MONOTONIC,
                                       TRY_TIMEOUT_US, 10000, on_time, lookup);
    return r < 0 ? r : 0;
}

int lookup_start(struct upstream *upstream, const struct question *question, lookup_done_fn done,
                 void *userdata, struct lookup **ret_lookup)
{
    if (upstream->lookups >= LOOKUPS_MAX)
        return -EAGAIN;
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (!lookup)
        return -ENOMEM;
    *lookup = (struct lookup){
        .upstream = upstream, .question = *question, .done = done, .userdata = userdata, .fd = -1};
    upstream->lookups++;
    int r = begin_try(lookup, false);
    if (r < 0)
        lookup_cancel(lookup);
    else
        *ret_lookup = lookup;
    return r;
}
