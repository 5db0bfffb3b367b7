/* The dev server of the proxy benchmark: as little as HTTP needs, so that what is measured is the
 * proxy before it. `backend PORT` listens on 127.0.0.1 and answers from one thread:
 *
 *   GET /1k, /1m           a body of 1 KB, of 1 MB
 *   anything with Upgrade  101, then every small WebSocket frame comes back (unmasked)
 *
 * It does not compute Sec-WebSocket-Accept: the client (websocket.c) sends the key of RFC 6455's
 * example. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_MAX 2048
#define HEAD_ROOM 128

struct answer {
    char *data;
    size_t length;
};

struct connection {
    int fd;
    bool is_websocket, waits; /* waits: EPOLLOUT is asked for */
    size_t used;
    const char *output; /* what is left of an answer; static memory */
    size_t left;
    char input[INPUT_MAX];
};

static struct answer small, large;
static int epoll;

static struct answer make_answer(size_t body)
{
    struct answer answer = {malloc(body + HEAD_ROOM), 0};

    if (!answer.data)
        abort();
    int n = snprintf(answer.data, HEAD_ROOM,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                     body);
    memset(answer.data + n, 'x', body);
    answer.length = (size_t)n + body;
    return answer;
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    free(connection);
}

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    epoll_ctl(epoll, operation, connection->fd, &event);
}

/* False: the connection is gone. */
static bool flush(struct connection *connection)
{
    while (connection->left > 0) {
        ssize_t n = send(connection->fd, connection->output, connection->left, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            drop(connection);
            return false;
        }
        if (n < 0)
            break;
        connection->output += n;
        connection->left -= (size_t)n;
    }
    bool waits = connection->left > 0;
    if (waits != connection->waits)
        watch(connection, EPOLL_CTL_MOD, waits ? EPOLLOUT : EPOLLIN);
    connection->waits = waits;
    return true;
}

static bool answer_request(struct connection *connection)
{
    static const char upgraded[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                   "Connection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    bool is_large = memmem(connection->input, 16, "/1m", 3) != NULL;

    connection->is_websocket =
        memmem(connection->input, connection->used, "Sec-WebSocket-Key", 17) != NULL ||
        memmem(connection->input, connection->used, "sec-websocket-key", 17) != NULL;
    connection->output = connection->is_websocket ? upgraded : is_large ? large.data : small.data;
    connection->left = connection->is_websocket ? sizeof(upgraded) - 1
                       : is_large               ? large.length
                                                : small.length;
    connection->used = 0;
    return flush(connection);
}

/* A masked frame with a payload of at most 125 bytes at the front of the input; false: gone. */
static bool echo_frame(struct connection *connection, size_t payload)
{
    unsigned char *frame = (unsigned char *)connection->input;
    unsigned char answer[2 + 125] = {frame[0], (unsigned char)payload};
    size_t length = 6 + payload;

    for (size_t i = 0; i < payload; i++)
        answer[2 + i] = frame[6 + i] ^ frame[2 + (i & 3)];
    if (send(connection->fd, answer, 2 + payload, MSG_NOSIGNAL) < 0) {
        drop(connection);
        return false;
    }
    connection->used -= length;
    memmove(frame, frame + length, connection->used);
    return true;
}

static void handle_input(struct connection *connection)
{
    if (!connection->is_websocket) {
        if (memmem(connection->input, connection->used, "\r\n\r\n", 4))
            answer_request(connection);
        return;
    }
    while (connection->used >= 6) {
        size_t payload = connection->input[1] & 0x7f;
        if (payload > 125) {
            drop(connection);
            return;
        }
        if (connection->used < 6 + payload || !echo_frame(connection, payload))
            return;
    }
}

static void read_input(struct connection *connection)
{
    ssize_t n =
        recv(connection->fd, connection->input + connection->used, INPUT_MAX - connection->used, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        drop(connection);
        return;
    }
    connection->used += (size_t)n;
    handle_input(connection);
}

static void accept_all(int listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = calloc(1, sizeof(*connection));
        if (!connection)
            abort();
        connection->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int open_listener(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct epoll_event events[256];

    if (argc != 2) {
        fprintf(stderr, "usage: backend PORT\n");
        return 2;
    }
    raise_descriptor_limit();
    small = make_answer(1024);
    large = make_answer(1024 * 1024);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = open_listener(atoi(argv[1]));
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
    puts("listening");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection)
                accept_all(listener);
            else if (events[i].events & EPOLLOUT)
                flush(connection);
            else
                read_input(connection);
        }
    }
}
