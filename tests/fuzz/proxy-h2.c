/* Fuzz target: HTTP/2 as a browser may send it, and the HTTP/1.1 responses that are turned into it.
 * The first byte of the input says which: `f`: frames, behind a preface that is sent for it, on a
 * connection without TLS; `r`: pieces, each behind a byte of its length, of the response that the
 * client of a waiting stream writes. The sandbox of the requests is stopped, or not known yet. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "proxy/h2.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STOPPED "aaaaaaaaaaaa.localhost"
#define WAITING "bbbbbbbbbbbb.localhost"
#define TURNS   64

static struct proxy proxy;
static struct worker worker;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct view stopped = {.state = ROUTE_STOPPED, .generation = 1};
    struct error err = ERROR_NONE;

    (void)argc;
    (void)argv;
    proxy.domain = TEXT("localhost");
    proxy.workers = &worker;
    proxy.n_workers = 1;
    atomic_store(&proxy.clients_max, 1000);
    if (config_init(&proxy.config, &err) < 0 || routes_init(&proxy.routes) < 0 ||
        worker_init(&worker, &proxy, &err) < 0)
        fuzz_give_up("set-up");
    sandbox_set_view(sandbox_get(&proxy.routes, "aaaaaaaaaaaa"), &stopped);
    sandbox_get(&proxy.routes, "bbbbbbbbbbbb");
    for (struct sandbox *asked; (asked = routes_asked(&proxy.routes));)
        sandbox_unref(asked);
    return 0;
}

/* What we have sent is read away; false: we have closed. */
static bool drain(int far)
{
    char sink[65536];
    ssize_t n;

    do
        n = recv(far, sink, sizeof(sink), MSG_DONTWAIT);
    while (n > 0);
    return n != 0;
}

static void turn(int far)
{
    for (int i = 0; i < TURNS; i++) {
        worker_turn(&worker, 0);
        if (!drain(far) || !worker.again)
            break;
    }
}

static void push(int far, const void *data, size_t size)
{
    for (const char *from = data; size > 0;) {
        ssize_t n = send(far, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            from += n;
            size -= (size_t)n;
        }
        turn(far);
        if (n < 0 && !worker.clients)
            break;
    }
}

static int open_connection(void)
{
    struct given given = {.address = "127.0.0.1"};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        fuzz_give_up("socketpair");
    given.fd = pair[0];
    client_count(&worker, 1);
    struct client *carrier = client_new(&worker, &given);
    if (!carrier)
        fuzz_give_up("client_new");
    timer_cancel(&carrier->peer.timer);
    carrier->tls = true;
    h2_start(carrier);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    push(pair[1], preface, sizeof(preface) - 1);
    return pair[1];
}

/* GET / of a sandbox that nobody has told us of yet: its client waits. */
static void open_stream(int far)
{
    static const char fields[] = "\x82\x87\x84\x41\x16" WAITING;
    char frame[9 + sizeof(fields) - 1] = {0, 0, sizeof(fields) - 1, 1, 5, 0, 0, 0, 1};

    memcpy(frame + 9, fields, sizeof(fields) - 1);
    push(far, frame, sizeof(frame));
}

static struct client *stream_client(void)
{
    for (struct client *client = worker.clients; client; client = client->next)
        if (client->peer.transport == &transport_stream)
            return client;
    return NULL;
}

static void respond(int far, const uint8_t *data, size_t size)
{
    open_stream(far);
    struct client *client = stream_client();
    if (!client)
        fuzz_give_up("the stream has no client");
    while (size > 1 && client == stream_client()) {
        size_t n = data[0] < size - 1 ? data[0] : size - 1;
        cleanup_free char *piece = malloc(n + 1);
        memcpy(piece, data + 1, n);
        struct iovec part = {piece, n};
        ssize_t sent = client->peer.transport->send(&client->peer, &part, 1);
        if (sent > (ssize_t)n)
            fuzz_give_up("more was sent than there was");
        if (sent < 0)
            break;
        data += n + 1;
        size -= n + 1;
        turn(far);
    }
    if (client == stream_client())
        client_close(client);
    turn(far);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int far = open_connection();
    if (data[0] == 'r')
        respond(far, data + 1, size - 1);
    else
        push(far, data + 1, size - 1);
    close(far);
    for (int i = 0; i < TURNS && worker.clients; i++)
        worker_turn(&worker, 0);
    while (worker.clients)
        client_close(worker.clients);
    worker_turn(&worker, 0);
    return 0;
}
