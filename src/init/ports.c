/* Theory of operation: SOCK_DIAG_BY_FAMILY dumps, restricted to the listening state by the kernel,
 * once for IPv4 and once for IPv6. The kernel answers a dump inside sendto and recv, so neither
 * waits for anybody. */
#include "init/ports.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The host's resolver listens in here, which no process of the sandbox can on such a port. */
static bool is_resolver(const struct inet_diag_msg *message)
{
    return message->idiag_family == AF_INET && ntohs(message->id.idiag_sport) == 53 &&
           ntohl(message->id.idiag_src[0]) == (INADDR_LOOPBACK & ~0xffu) + 53;
}

static void add_socket(const struct inet_diag_msg *message, struct port_set *set)
{
    if (message->idiag_state != TCP_LISTEN || set->count == PORTS_MAX || is_resolver(message))
        return;
    struct port *port = &set->ports[set->count++];
    *port = (struct port){
        .port = ntohs(message->id.idiag_sport),
        .family = message->idiag_family,
    };
    memcpy(port->address, message->id.idiag_src, port->family == AF_INET ? 4 : 16);
}

static int take_message(const struct nlmsghdr *header, struct port_set *set)
{
    if (header->nlmsg_type == NLMSG_DONE)
        return 1;
    if (header->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *failure = NLMSG_DATA(header);
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*failure)) || failure->error >= 0)
            return -EPROTO;
        return failure->error;
    }
    if (header->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
        header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        add_socket(NLMSG_DATA(header), set);
    return 0;
}

int ports_parse(const void *data, size_t length, struct port_set *set)
{
    int r = 0;

    for (size_t at = 0; r == 0 && at < length;) {
        const struct nlmsghdr *header = (const void *)((const char *)data + at);
        if (!NLMSG_OK(header, length - at))
            break;
        r = take_message(header, set);
        at += NLMSG_ALIGN(header->nlmsg_len);
    }
    return r;
}

static int compare(const void *a, const void *b)
{
    const struct port *x = a, *y = b;

    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    if (x->family != y->family)
        return x->family < y->family ? -1 : 1;
    return memcmp(x->address, y->address, sizeof(x->address));
}

/* Several sockets may share an address by SO_REUSEPORT. */
void ports_sort(struct port_set *set)
{
    size_t kept = 0;

    qsort(set->ports, set->count, sizeof(set->ports[0]), compare);
    for (size_t i = 0; i < set->count; i++)
        if (kept == 0 || compare(&set->ports[kept - 1], &set->ports[i]) != 0)
            set->ports[kept++] = set->ports[i];
    set->count = kept;
}

static int dump(int fd, uint8_t family, struct port_set *set)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1u << TCP_LISTEN},
    };
    _Alignas(struct nlmsghdr) char buffer[32768];

    if (send(fd, &request, sizeof(request), 0) < 0)
        return -errno;
    for (;;) {
        ssize_t length = recv(fd, buffer, sizeof(buffer), 0);
        int r = length < 0 ? -errno : ports_parse(buffer, (size_t)length, set);
        if (r == -EINTR)
            continue;
        if (r != 0)
            return r < 0 ? r : 0;
    }
}

int ports_read(struct port_set *ret_set, struct error *err)
{
    struct port_set set = {.count = 0};
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    if (fd < 0)
        return error_sys(err, errno, "socket NETLINK_SOCK_DIAG");
    int r = dump(fd, AF_INET, &set);
    if (r == 0)
        r = dump(fd, AF_INET6, &set);
    if (r < 0 && r != -ENOENT)
        return error_sys(err, r, "dump of the listening sockets");
    ports_sort(&set);
    *ret_set = set;
    return 0;
}

bool ports_equal(const struct port_set *a, const struct port_set *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (compare(&a->ports[i], &b->ports[i]) != 0)
            return false;
    return true;
}

bool ports_listening(const struct port_set *set, int64_t port)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->ports[i].port == port)
            return true;
    return false;
}

json_t *ports_to_json(const struct port_set *set)
{
    char text[INET6_ADDRSTRLEN];
    json_t *array = json_array(), *addresses = NULL;

    for (size_t i = 0; i < set->count; i++) {
        const struct port *port = &set->ports[i];
        if (i == 0 || port[-1].port != port->port) {
            addresses = json_array();
            json_array_append_new(
                array, json_pack("{s:i, s:o}", "port", (int)port->port, "addresses", addresses));
        }
        if (inet_ntop(port->family, port->address, text, sizeof(text)))
            json_array_append_new(addresses, json_string(text));
    }
    return array;
}
