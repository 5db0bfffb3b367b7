/* Theory of operation: see link.h. The pair is made by one netlink request with the peer already in
 * the sandbox's namespace; its inside end is configured through a netlink socket that was made
 * there. Names are enough to find everything again, so nothing has to be remembered. */
#include "supervisor/link.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <string.h>

void link_name(const char *id, char ret_name[IFNAMSIZ])
{
    snprintf(ret_name, IFNAMSIZ, "ac%.12s", id);
}

static int nl_failed(struct error *err, int r, const char *step)
{
    return error_set(err, EIO, "%s: %s", step, nl_geterror(r));
}

static void cleanup_nl_socket(struct nl_sock **socket)
{
    if (*socket)
        nl_socket_free(*socket);
}

#define cleanup_nl __attribute__((cleanup(cleanup_nl_socket)))

static struct nl_sock *open_netlink(void)
{
    struct nl_sock *socket = nl_socket_alloc();

    if (socket && nl_connect(socket, NETLINK_ROUTE) < 0) {
        nl_socket_free(socket);
        return NULL;
    }
    return socket;
}

/* The socket was made in the sandbox's namespace and talks to it. */
static struct nl_sock *adopt_netlink(int fd)
{
    struct nl_sock *socket = nl_socket_alloc();

    if (socket && nl_socket_set_fd(socket, NETLINK_ROUTE, fd) < 0) {
        nl_socket_free(socket);
        return NULL;
    }
    return socket;
}

static int make_pair(struct nl_sock *host, const char *name, int netns_fd, struct error *err)
{
    struct rtnl_link *link = rtnl_link_veth_alloc();

    if (!link)
        return error_oom(err);
    struct rtnl_link *peer = rtnl_link_veth_get_peer(link);
    rtnl_link_set_name(link, name);
    rtnl_link_set_name(peer, "eth0");
    rtnl_link_set_ns_fd(peer, netns_fd);
    int r = rtnl_link_add(host, link, NLM_F_CREATE | NLM_F_EXCL);
    rtnl_link_put(peer);
    rtnl_link_put(link);
    return r < 0 ? nl_failed(err, r, "making the veth pair") : 0;
}

static int set_up(struct nl_sock *socket, int index)
{
    struct rtnl_link *old = rtnl_link_alloc(), *change = rtnl_link_alloc();
    int r = -NLE_NOMEM;

    if (old && change) {
        rtnl_link_set_ifindex(old, index);
        rtnl_link_set_flags(change, IFF_UP);
        r = rtnl_link_change(socket, old, change, 0);
    }
    rtnl_link_put(old);
    rtnl_link_put(change);
    return r;
}

static int add_address(struct nl_sock *socket, int index, uint32_t address)
{
    uint32_t wire = htonl(address);
    struct rtnl_addr *entry = rtnl_addr_alloc();
    struct nl_addr *local = nl_addr_build(AF_INET, &wire, sizeof(wire));
    int r = -NLE_NOMEM;

    if (entry && local) {
        nl_addr_set_prefixlen(local, 30);
        rtnl_addr_set_ifindex(entry, index);
        rtnl_addr_set_local(entry, local);
        r = rtnl_addr_add(socket, entry, 0);
    }
    nl_addr_put(local);
    rtnl_addr_put(entry);
    return r;
}

static int add_default_route(struct nl_sock *socket, int index, uint32_t gateway)
{
    uint32_t wire = htonl(gateway);
    struct rtnl_route *route = rtnl_route_alloc();
    struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
    struct nl_addr *via = nl_addr_build(AF_INET, &wire, sizeof(wire));
    struct nl_addr *everywhere = NULL;
    int r = nl_addr_parse("0.0.0.0/0", AF_INET, &everywhere);

    if (r == 0 && route && hop && via) {
        rtnl_route_set_dst(route, everywhere);
        rtnl_route_nh_set_gateway(hop, via);
        rtnl_route_nh_set_ifindex(hop, index);
        rtnl_route_add_nexthop(route, hop);
        r = rtnl_route_add(socket, route, 0);
    }
    nl_addr_put(everywhere);
    nl_addr_put(via);
    rtnl_route_put(route);
    return r;
}

static int configure_inside(int netlink_fd, uint32_t host, uint32_t inside, struct error *err)
{
    struct rtnl_link *link = NULL;
    cleanup_nl struct nl_sock *socket = adopt_netlink(netlink_fd);

    if (!socket)
        return error_set(err, EIO, "netlink in the sandbox's network namespace");
    int r = rtnl_link_get_kernel(socket, 0, "eth0", &link);
    if (r < 0)
        return nl_failed(err, r, "finding eth0 of the sandbox");
    int index = rtnl_link_get_ifindex(link);
    rtnl_link_put(link);
    r = add_address(socket, index, inside);
    if (r == 0)
        r = set_up(socket, index);
    if (r == 0)
        r = add_default_route(socket, index, host);
    return r < 0 ? nl_failed(err, r, "configuring eth0 of the sandbox") : 0;
}

static int configure_host(struct nl_sock *socket, const char *name, uint32_t address,
                          struct error *err)
{
    char path[96];
    int index = (int)if_nametoindex(name);

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    if (access(path, F_OK) == 0) {
        int r = file_write_existing(AT_FDCWD, path, "1", err);
        if (r < 0)
            return r;
    }
    int r = add_address(socket, index, address);
    if (r == 0)
        r = set_up(socket, index);
    if (r < 0)
        return nl_failed(err, r, "configuring the host's end of the link");
    return file_write_existing(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", "1", err);
}

int link_delete(const char *id, struct error *err)
{
    char name[IFNAMSIZ];

    link_name(id, name);
    int index = (int)if_nametoindex(name);

    if (index == 0)
        return 0; /* it went with the sandbox's network namespace */
    cleanup_nl struct nl_sock *host = open_netlink();
    struct rtnl_link *link = host ? rtnl_link_alloc() : NULL;
    if (!link)
        return error_oom(err);
    rtnl_link_set_ifindex(link, index);
    int r = rtnl_link_delete(host, link);
    rtnl_link_put(link);
    return r < 0 && r != -NLE_OBJ_NOTFOUND && r != -NLE_NODEV
               ? nl_failed(err, r, "deleting the link")
               : 0;
}

int link_make(const char *id, int netns_fd, struct error *err)
{
    char name[IFNAMSIZ];
    cleanup_nl struct nl_sock *host = open_netlink();

    if (!host)
        return error_set(err, EIO, "netlink");
    link_name(id, name);
    int r = link_delete(id, err); /* of an earlier incarnation */
    return r == 0 ? make_pair(host, name, netns_fd, err) : r;
}

int link_configure(const char *id, int netlink_fd, uint32_t address, struct error *err)
{
    char name[IFNAMSIZ];
    cleanup_nl struct nl_sock *host = open_netlink();

    if (!host) {
        close(netlink_fd);
        return error_set(err, EIO, "netlink");
    }
    link_name(id, name);
    int r = configure_inside(netlink_fd, address + 1, address + 2, err);
    return r == 0 ? configure_host(host, name, address + 1, err) : r;
}

static int64_t read_counter(const char *name, const char *counter)
{
    char path[128];
    cleanup_free char *text = NULL;
    uint64_t value;

    snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", name, counter);
    if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    return parse_u64(text, 0, INT64_MAX, &value) < 0 ? -1 : (int64_t)value;
}

void link_bytes(const char *id, int64_t *ret_rx, int64_t *ret_tx)
{
    char name[IFNAMSIZ];

    link_name(id, name);
    *ret_rx = read_counter(name, "tx_bytes"); /* what we send, the sandbox receives */
    *ret_tx = read_counter(name, "rx_bytes");
}
