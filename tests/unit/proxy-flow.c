/* Bodies on their way, and a whole thread of the data path between a client and a dev server. */
#include "base/config.h"
#include "proxy/client.h"
#include "proxy/stock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ID   "abcdefgh2345"
#define BODY 1000000u

/* The linker leads every allocation of the proxy's own code here (--wrap). */
static atomic_ulong allocations;
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_calloc(n, size);
}

/* A connected pair of TCP sockets on loopback. */
static void connect_pair(int ret_pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    ret_pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ret_pair[0], (struct sockaddr *)&address, length), 0);
    ret_pair[1] = accept(listener, NULL, NULL);
    assert_true(ret_pair[1] >= 0);
    close(listener);
}

struct bench {
    struct buffer_pool buffers;
    struct pipe_pool pipes;
    struct peer source, sink;
    int writer, reader; /* the far ends */
    char *sent, *received;
    size_t n_received;
};

static struct peer peer_of(int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return (struct peer){
        .fd = fd, .transport = &transport_plain, .readable = true, .writable = true};
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    int from[2], to[2];

    connect_pair(from);
    connect_pair(to);
    bench->writer = from[0];
    bench->source = peer_of(from[1]);
    bench->sink = peer_of(to[0]);
    bench->reader = to[1];
    bench->sent = malloc(BODY);
    bench->received = malloc(BODY);
    for (size_t i = 0; i < BODY; i++)
        bench->sent[i] = (char)(i * 7 + i / 251);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    peer_close(&bench->buffers, &bench->source);
    peer_close(&bench->buffers, &bench->sink);
    if (bench->writer >= 0)
        close(bench->writer);
    if (bench->reader >= 0)
        close(bench->reader);
    buffer_pool_free(&bench->buffers);
    pipe_pool_free(&bench->pipes);
    assert_int_equal(bench->pipes.n_open, 0);
    free(bench->sent);
    free(bench->received);
    free(bench);
    return 0;
}

static void take_received(struct bench *bench)
{
    ssize_t n;

    while ((n = recv(bench->reader, bench->received + bench->n_received, BODY - bench->n_received,
                     MSG_DONTWAIT)) > 0)
        bench->n_received += (size_t)n;
}

static enum flow_result run_flow(struct bench *bench, struct flow *flow)
{
    bool moved = false;

    bench->source.readable = bench->sink.writable = true; /* as an edge would have it */
    return flow_run(&bench->buffers, &bench->pipes, flow, &bench->source, &bench->sink, RUN_ROUNDS,
                    &moved);
}

/* Writes the body as fast as it goes and reads it at the other end. */
static void pass_body(struct bench *bench, struct flow *flow, size_t length)
{
    size_t sent = 0;

    while (!flow->done || bench->n_received < length) {
        if (sent < length) {
            ssize_t n = send(bench->writer, bench->sent + sent, length - sent, MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
        }
        enum flow_result r = run_flow(bench, flow);
        assert_true(r == FLOW_WAIT || r == FLOW_AGAIN);
        take_received(bench);
    }
    assert_int_equal(bench->n_received, length);
    assert_memory_equal(bench->received, bench->sent, length);
}

static void long_body_takes_a_pipe(void **state)
{
    struct bench *bench = *state;
    struct flow flow;

    flow_start(&flow, FLOW_LENGTH, BODY, false);
    pass_body(bench, &flow, BODY);
    assert_int_equal(bench->pipes.n_open, 1);
    assert_null(flow.pipe);
    assert_non_null(bench->pipes.free);
}

static void what_follows_a_body_is_left(void **state)
{
    struct bench *bench = *state;
    struct flow flow;

    bench->n_received = 0;
    flow_start(&flow, FLOW_LENGTH, SPLICE_MIN, false);
    assert_int_equal(send(bench->writer, bench->sent, SPLICE_MIN + 5, 0), SPLICE_MIN + 5);
    while (!flow.done)
        assert_true(run_flow(bench, &flow) != FLOW_SOURCE_LOST);
    /* In the buffer or still in the socket, but not sent on. */
    if (bench->source.in.length == 0)
        assert_int_equal(peer_fill(&bench->buffers, &bench->source), 0);
    assert_int_equal(bench->source.in.length, 5);
    assert_memory_equal(buffer_head(&bench->source.in), bench->sent + SPLICE_MIN, 5);
    take_received(bench);
    assert_int_equal(bench->n_received, SPLICE_MIN);
}

static void short_body_takes_none(void **state)
{
    struct bench *bench = *state;
    struct flow flow;

    flow_start(&flow, FLOW_LENGTH, 1000, false);
    pass_body(bench, &flow, 1000);
    assert_int_equal(bench->pipes.n_open, 0);
}

static void layered_transport_takes_none(void **state)
{
    struct transport layered = transport_plain;
    struct bench *bench = *state;
    struct flow flow;

    layered.raw = false;
    bench->sink.transport = &layered;
    flow_start(&flow, FLOW_LENGTH, BODY, false);
    pass_body(bench, &flow, BODY);
    assert_int_equal(bench->pipes.n_open, 0);
    bench->sink.transport = &transport_plain;
}

static void without_pipes_it_is_copied(void **state)
{
    struct bench *bench = *state;
    struct flow flow;

    bench->pipes.n_open = PIPES_MAX;
    flow_start(&flow, FLOW_LENGTH, BODY, false);
    pass_body(bench, &flow, BODY);
    bench->pipes.n_open = 0;
}

/* The same document in each framing: what comes out is it and the tag, and the rest takes its usual
 * way from there on. */
static void document_gets_its_tag(void **state)
{
    static const char page[] = "<!doctype html><html><head><title>x</title></head></html>";
    static const char with[] = "<!doctype html><html><head>TAG<title>x</title></head></html>";
    static const char coded[] =
        "0f\r\n<!doctype html>\r\n3\r\n<ht\r\n27\r\nml><head><title>x</title>"
        "</head></html>\r\n0\r\n\r\n";
    static const char recoded[] = "f\r\n<!doctype html>\r\n2d\r\n<html><head>TAG<title>x</title>"
                                  "</head></html>\r\n0\r\n\r\n";
    const struct {
        enum flow_kind kind;
        bool chunk;
        const char *sent, *received;
    } cases[] = {
        {FLOW_LENGTH, false, page, with},
        {FLOW_CHUNKED, false, coded, with},
        {FLOW_CHUNKED, true, coded, recoded},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench *bench = *state;
        struct flow flow;
        size_t length = strlen(cases[i].sent), sent = 0;
        bench->n_received = 0;
        flow_start(&flow, cases[i].kind, sizeof(page) - 1, cases[i].chunk);
        flow.insertion = calloc(1, sizeof(*flow.insertion));
        memcpy(flow.insertion->tag, "TAG", 3);
        flow.insertion->tag_length = 3;
        while (!flow.done || bench->n_received < strlen(cases[i].received)) {
            if (sent < length) /* at once, so that the chunks are known */
                sent += (size_t)send(bench->writer, cases[i].sent, length, 0);
            assert_true(run_flow(bench, &flow) != FLOW_SOURCE_LOST);
            take_received(bench);
        }
        assert_null(flow.insertion);
        assert_int_equal(bench->n_received, strlen(cases[i].received));
        assert_memory_equal(bench->received, cases[i].received, bench->n_received);
    }
}

static void long_document_takes_a_pipe_behind_its_tag(void **state)
{
    struct bench *bench = *state;
    struct flow flow;
    size_t sent = 0;

    memcpy(bench->sent, "<head>", 6);
    flow_start(&flow, FLOW_LENGTH, BODY - 3, false);
    flow.insertion = calloc(1, sizeof(*flow.insertion));
    memcpy(flow.insertion->tag, "TAG", 3);
    flow.insertion->tag_length = 3;
    while (!flow.done || bench->n_received < BODY) {
        if (sent < BODY - 3) {
            ssize_t n = send(bench->writer, bench->sent + sent, BODY - 3 - sent, MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
        }
        assert_true(run_flow(bench, &flow) != FLOW_SOURCE_LOST);
        take_received(bench);
    }
    assert_memory_equal(bench->received, "<head>TAG", 9);
    assert_memory_equal(bench->received + 9, bench->sent + 6, BODY - 9);
    assert_int_equal(bench->pipes.n_open, 1);
}

/* A reader that takes nothing: no more than a pipe waits, and ending the flow gives that up. */
static void slow_reader_holds_one_pipe(void **state)
{
    struct bench *bench = *state;
    struct flow flow;
    int small = 1;

    setsockopt(bench->sink.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(bench->reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    flow_start(&flow, FLOW_LENGTH, 100 * (uint64_t)BODY, false);
    while (!flow.pipe || bench->sink.writable) {
        send(bench->writer, bench->sent, BODY, MSG_DONTWAIT);
        assert_int_not_equal(run_flow(bench, &flow), FLOW_SINK_LOST);
    }
    assert_in_range(flow.pipe->used, 1, PIPE_SIZE);
    flow_end(&bench->pipes, &flow);
    assert_null(flow.pipe);
    assert_int_equal(bench->pipes.n_open, 0);
}

static void truncated_body_is_noticed(void **state)
{
    struct bench *bench = *state;
    enum flow_result r = FLOW_WAIT;
    struct flow flow;

    flow_start(&flow, FLOW_LENGTH, BODY, false);
    assert_int_equal(send(bench->writer, bench->sent, 300, 0), 300);
    close(bench->writer);
    bench->writer = -1;
    while (r == FLOW_WAIT || r == FLOW_AGAIN)
        r = run_flow(bench, &flow);
    assert_int_equal(r, FLOW_SOURCE_LOST);
    flow_end(&bench->pipes, &flow);
}

static void lost_reader_is_noticed(void **state)
{
    struct linger reset = {.l_onoff = 1};
    struct bench *bench = *state;
    enum flow_result r = FLOW_WAIT;
    struct flow flow;

    setsockopt(bench->reader, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(bench->reader);
    bench->reader = -1;
    flow_start(&flow, FLOW_LENGTH, BODY, false);
    while (r == FLOW_WAIT || r == FLOW_AGAIN) {
        send(bench->writer, bench->sent, BODY, MSG_DONTWAIT);
        r = run_flow(bench, &flow);
    }
    assert_int_equal(r, FLOW_SINK_LOST);
    flow_end(&bench->pipes, &flow);
}

/* ---- a thread between a client and a dev server ---------------------------------------------- */

struct world {
    struct proxy proxy;
    int server, client, dev;
};

static struct world world;

static int open_server(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void add_sandbox(struct routes *routes, uint16_t port)
{
    struct sandbox *sandbox = sandbox_get(routes, ID);
    struct view view = {
        .state = ROUTE_RUNNING, .service = SERVICE_READY, .port = port, .generation = 1};

    assert_non_null(sandbox);
    stock_clear(sandbox, 1);
    for (int i = 0; i < 8; i++)
        stock_add(sandbox, false, 1, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sandbox_set_view(sandbox, &view);
    sandbox_unref(sandbox);
}

static int start_world(void **state)
{
    struct error err = ERROR_NONE;
    struct proxy *proxy = &world.proxy;
    int pair[2];
    uint16_t port;

    (void)state;
    assert_int_equal(config_init(&proxy->config, &err), 0);
    proxy->domain = TEXT("localhost");
    proxy->n_workers = 1;
    proxy->workers = calloc(1, sizeof(*proxy->workers));
    atomic_store(&proxy->clients_max, 10);
    assert_int_equal(routes_init(&proxy->routes), 0);
    assert_int_equal(worker_init(&proxy->workers[0], proxy, &err), 0);
    world.server = open_server(&port);
    add_sandbox(&proxy->routes, port);
    assert_int_equal(worker_start(&proxy->workers[0], &err), 0);
    connect_pair(pair);
    world.client = pair[0];
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    struct given given = {.fd = pair[1], .address = "10.1.2.3"};
    client_count(&proxy->workers[0], 1);
    assert_true(worker_give(&proxy->workers[0], &given));
    return 0;
}

static int stop_world(void **state)
{
    struct proxy *proxy = &world.proxy;

    (void)state;
    close(world.client);
    close(world.dev);
    close(world.server);
    atomic_store(&proxy->draining, true);
    worker_wake(&proxy->workers[0]);
    pthread_join(proxy->workers[0].thread, NULL);
    worker_free(&proxy->workers[0]);
    free(proxy->workers);
    routes_free(&proxy->routes);
    config_free(&proxy->config);
    return 0;
}

/* Reads until `end` has come; the text stays valid until the next call. */
static const char *read_until(int fd, const char *end)
{
    static char text[4096];
    size_t n = 0;

    do {
        ssize_t r = recv(fd, text + n, sizeof(text) - 1 - n, 0);
        assert_true(r > 0);
        n += (size_t)r;
        text[n] = '\0';
    } while (!strstr(text, end));
    return text;
}

static void one_request(void)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: " ID ".localhost:7080\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    assert_int_equal(send(world.client, request, sizeof(request) - 1, 0), sizeof(request) - 1);
    if (world.dev <= 0)
        world.dev = accept(world.server, NULL, NULL);
    assert_non_null(strstr(read_until(world.dev, "\r\n\r\n"), "GET /a HTTP/1.1\r\n"));
    assert_int_equal(send(world.dev, answer, sizeof(answer) - 1, 0), sizeof(answer) - 1);
    assert_non_null(strstr(read_until(world.client, "hello"), "200 OK"));
}

static void steady_state_allocates_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        one_request();
    unsigned long before = atomic_load(&allocations);
    assert_true(before > 0); /* it counts */
    for (int i = 0; i < 200; i++)
        one_request();
    assert_int_equal(atomic_load(&allocations), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(long_body_takes_a_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_follows_a_body_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_body_takes_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(layered_transport_takes_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_pipes_it_is_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(document_gets_its_tag, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_document_takes_a_pipe_behind_its_tag, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(slow_reader_holds_one_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(truncated_body_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_reader_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(steady_state_allocates_nothing, start_world, stop_world),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
