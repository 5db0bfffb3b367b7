/* Theory of operation: see fence.h. What the host itself sends from an address of the subnet (its
 * end of a link) goes by the first rule, all else without the mark ends at the second. Both come
 * after the table `local` and before `main` (ip-rule(8)). */
#include "supervisor/fence.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/route/rule.h>
#include <netlink/socket.h>
#include <stdbool.h>
#include <string.h>

static const struct fence_rule {
    uint32_t priority;
    const char *from_device;
    uint8_t action;
    bool unmarked;
} rules[] = {
    {5200, "lo", FR_ACT_TO_TBL, false},
    {5201, NULL, FR_ACT_PROHIBIT, true},
};

static struct rtnl_rule *make_rule(const struct fence_rule *fence, uint32_t base,
                                   unsigned int prefix)
{
    uint32_t wire = htonl(base);
    struct rtnl_rule *rule = rtnl_rule_alloc();
    struct nl_addr *source = nl_addr_build(AF_INET, &wire, sizeof(wire));

    if (!rule || !source) {
        rtnl_rule_put(rule);
        nl_addr_put(source);
        return NULL;
    }
    nl_addr_set_prefixlen(source, (int)prefix);
    rtnl_rule_set_family(rule, AF_INET);
    rtnl_rule_set_prio(rule, fence->priority);
    rtnl_rule_set_src(rule, source);
    rtnl_rule_set_action(rule, fence->action);
    if (fence->from_device)
        rtnl_rule_set_iif(rule, fence->from_device);
    if (fence->action == FR_ACT_TO_TBL)
        rtnl_rule_set_table(rule, RT_TABLE_MAIN);
    if (fence->unmarked) {
        rtnl_rule_set_mark(rule, 0);
        rtnl_rule_set_mask(rule, FENCE_MARK);
    }
    nl_addr_put(source);
    return rule;
}

static int change(struct nl_sock *socket, const struct fence_rule *fence, bool put, uint32_t base,
                  unsigned int prefix, struct error *err)
{
    struct rtnl_rule *rule = make_rule(fence, base, prefix);

    if (!rule)
        return error_oom(err);
    int r = put ? rtnl_rule_add(socket, rule, NLM_F_EXCL) : rtnl_rule_delete(socket, rule, 0);
    rtnl_rule_put(rule);
    if (r == 0 || (put && r == -NLE_EXIST) || (!put && (r == -NLE_OBJ_NOTFOUND)))
        return 0;
    return error_set(err, EIO, "the routing rule of the sandboxes' subnet: %s", nl_geterror(r));
}

static int change_all(bool put, uint32_t base, unsigned int prefix, struct error *err)
{
    struct nl_sock *socket = nl_socket_alloc();
    int r = socket ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;

    if (r < 0)
        error_set(err, EIO, "netlink: %s", nl_geterror(r));
    for (size_t i = 0; r == 0 && i < ELEMENTS(rules); i++)
        r = change(socket, &rules[i], put, base, prefix, err);
    nl_socket_free(socket);
    return r < 0 ? -EIO : 0;
}

int fence_put(uint32_t base, unsigned int prefix, struct error *err)
{
    return change_all(true, base, prefix, err);
}

int fence_remove(uint32_t base, unsigned int prefix, struct error *err)
{
    return change_all(false, base, prefix, err);
}
