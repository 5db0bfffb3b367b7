/* The WebSocket client of the proxy benchmark, against 127.0.0.1:
 *
 *   websocket PORT HOST rtt COUNT    echoes one after the other; prints their round trips in
 *                                    nanoseconds, one a line
 *   websocket PORT HOST idle COUNT   opens that many connections and prints "open"; at the end of
 *                                    standard input it makes an echo on each and prints "alive N"
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD 32
#define WARM_UP 200

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void send_all(int fd, const void *data, size_t length)
{
    if (send(fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
        fail("send");
}

static void receive_all(int fd, void *data, size_t length)
{
    if (recv(fd, data, length, MSG_WAITALL) != (ssize_t)length)
        fail("receive");
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 30};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* The key of RFC 6455's example: see backend.c. Byte by byte, so that no frame is swallowed. */
static int open_websocket(int port, const char *host)
{
    char request[512], answer[2048];
    int fd = connect_to(port);
    size_t used = 0;
    int n = snprintf(request, sizeof(request),
                     "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     host);

    send_all(fd, request, (size_t)n);
    while (used < 4 || memcmp(answer + used - 4, "\r\n\r\n", 4) != 0) {
        if (used == sizeof(answer))
            fail("handshake");
        receive_all(fd, answer + used++, 1);
    }
    if (memcmp(answer, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "%.*s", (int)used, answer);
        exit(1);
    }
    return fd;
}

static void echo(int fd)
{
    static const unsigned char mask[4] = {1, 2, 3, 4};
    unsigned char frame[6 + PAYLOAD] = {0x81, 0x80 | PAYLOAD}, answer[2 + PAYLOAD];

    memcpy(frame + 2, mask, sizeof(mask));
    for (size_t i = 0; i < PAYLOAD; i++)
        frame[6 + i] = (unsigned char)('a' + i) ^ mask[i & 3];
    send_all(fd, frame, sizeof(frame));
    receive_all(fd, answer, sizeof(answer));
    for (size_t i = 0; i < PAYLOAD; i++)
        if (answer[2 + i] != 'a' + i) {
            fprintf(stderr, "the echo is another\n");
            exit(1);
        }
}

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void measure(int port, const char *host, int count)
{
    int fd = open_websocket(port, host);
    int64_t *times = calloc((size_t)count, sizeof(*times));

    if (!times)
        fail("calloc");
    for (int i = -WARM_UP; i < count; i++) {
        int64_t before = now();
        echo(fd);
        if (i >= 0)
            times[i] = now() - before;
    }
    for (int i = 0; i < count; i++)
        printf("%lld\n", (long long)times[i]);
    free(times);
}

static void hold(int port, const char *host, int count)
{
    int *fds = calloc((size_t)count, sizeof(*fds));

    if (!fds)
        fail("calloc");
    for (int i = 0; i < count; i++)
        fds[i] = open_websocket(port, host);
    puts("open");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    for (int i = 0; i < count; i++)
        echo(fds[i]);
    printf("alive %d\n", count);
    free(fds);
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc != 5) {
        fprintf(stderr, "usage: websocket PORT HOST rtt|idle COUNT\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (strcmp(argv[3], "rtt") == 0)
        measure(atoi(argv[1]), argv[2], atoi(argv[4]));
    else
        hold(atoi(argv[1]), argv[2], atoi(argv[4]));
    return 0;
}
