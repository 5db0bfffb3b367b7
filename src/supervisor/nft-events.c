/* Theory of operation: see nft-events.h. A transaction's events end with NEWGEN, which names the
 * process; those of one netlink socket come in order, so what is told before it belongs to it.
 * Elements that expire are told too, and are nobody's doing. */
#include "supervisor/nft-events.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#define RECEIVE_BYTES (4 << 20) /* a large flush tells of every rule */

/* What takes something away. The attribute of the table's name is number 1 in all of them. */
static const int removals[] = {NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET,
                               NFT_MSG_DELOBJ};

static bool removes(int type)
{
    for (size_t i = 0; i < ELEMENTS(removals); i++)
        if (removals[i] == type)
            return true;
    return false;
}

static void end_transaction(struct nft_events *events, uint32_t pid)
{
    if (events->touched && pid != events->own_pid)
        events->foreign = true;
    events->touched = false;
    events->last_pid = pid;
}

static int on_message(struct nl_msg *message, void *userdata)
{
    struct nft_events *events = userdata;
    struct nlmsghdr *header = nlmsg_hdr(message);
    int type = header->nlmsg_type & 0xff;
    struct nlattr *name = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_TABLE_NAME);

    if (header->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
        return NL_OK;
    if (type == NFT_MSG_NEWGEN) {
        struct nlattr *pid = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_GEN_PROC_PID);
        end_transaction(events, pid ? ntohl(nla_get_u32(pid)) : 0);
    } else if (events->table && name && removes(type) &&
               str_equal(nla_get_string(name), events->table)) {
        events->touched = true;
    }
    return NL_OK;
}

int nft_events_open(struct nft_events *events, struct error *err)
{
    *events = (struct nft_events){.fd = -1, .socket = nl_socket_alloc()};
    if (!events->socket)
        return error_oom(err);
    nl_socket_disable_seq_check(events->socket);
    nl_socket_modify_cb(events->socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, events);
    int r = nl_connect(events->socket, NETLINK_NETFILTER);
    if (r == 0)
        r = nl_socket_add_membership(events->socket, NFNLGRP_NFTABLES);
    if (r == 0)
        r = nl_socket_set_nonblocking(events->socket);
    if (r < 0)
        return error_set(err, EIO, "watching nftables: %s", nl_geterror(r));
    nl_socket_set_buffer_size(events->socket, RECEIVE_BYTES, 0);
    events->fd = nl_socket_get_fd(events->socket);
    return 0;
}

void nft_events_watch(struct nft_events *events, const char *table)
{
    events->table = table;
}

/* Until there is nothing more. Lost events may have been anything. */
static void read_all(struct nft_events *events)
{
    int r;

    do {
        r = nl_recvmsgs_default(events->socket);
        if (r == -NLE_NOMEM) /* ENOBUFS */
            events->foreign = true;
    } while (r >= 0 || r == -NLE_NOMEM || r == -NLE_INTR);
}

void nft_events_own(struct nft_events *events)
{
    bool learning = events->own_pid == 0;
    bool foreign = events->foreign;

    read_all(events);
    if (learning && events->last_pid) {
        events->own_pid = events->last_pid;
        events->foreign = foreign;
    }
}

bool nft_events_foreign(struct nft_events *events)
{
    read_all(events);
    bool foreign = events->foreign;
    events->foreign = false;
    return foreign;
}
