/* Theory of operation. State is one JSON object of sandboxes, as auracoded described them, so that
 * the table can be made anew without asking anybody. Each own transaction is followed by reading
 * the events that it caused; its NEWGEN event tells the pid under which the kernel sees us (the
 * namespace's getpid() may be another). Events of another's transaction that take something out of
 * our table make it anew. */
#include "supervisor/net-helper.h"

#include "supervisor/egress-rules.h"
#include "supervisor/fence.h"
#include "supervisor/link.h"
#include "supervisor/nft-events.h"
#include "supervisor/nft-guard.h"
#include "supervisor/nft.h"

#include "base/cleanup.h"
#include "base/confine.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/server.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define ADDRESSES_PACKET_MAX 256
#define REBUILD_RETRY_MS     200

struct helper {
    struct server_conn conn;
    struct nft_events events;
    char table_name[80], subnet[16];
    struct nft_table table;
    json_t *sandboxes; /* by id: nft.h */
    json_t *unlinked;  /* ids whose links are to be deleted */
    bool committed;    /* the table is ours to keep */
    bool broken;       /* it could not be made; tried again */
    bool unguarded;    /* the kernel can have no guard */
};

static struct helper *helper_of(struct request *request)
{
    return request->conn->userdata;
}

/* ---- the table
 * --------------------------------------------------------------------------------------- */

/* What the kernel has counted so far goes into the new table. */
static void keep_counters(struct helper *helper)
{
    const char *id;
    json_t *sandbox;

    json_object_foreach(helper->sandboxes, id, sandbox)
    {
        json_int_t values[4];
        if (nft_counters(&helper->table, id, values, NULL) == 0)
            json_object_set_new(
                sandbox, "counters",
                json_pack("[I, I, I, I]", values[0], values[1], values[2], values[3]));
    }
}

/* On a kernel without policy routing the sandboxes have the table alone. */
static void put_fence(struct helper *helper)
{
    struct error err = ERROR_NONE;
    struct in_addr base;

    inet_pton(AF_INET, helper->subnet, &base);
    if (fence_put(ntohl(base.s_addr), helper->table.prefix, &err) < 0)
        log_warning("%s: nothing holds sandboxes while the ruleset is flushed", err.message);
}

/* A kernel without owned tables says so once. */
static void put_guard(struct helper *helper)
{
    struct error err = ERROR_NONE;

    if (helper->unguarded || nft_guard_make(&helper->table, helper->sandboxes, &err) == 0)
        return;
    helper->unguarded = true;
    log_warning("%s: nothing keeps sandboxes from the host while the ruleset is flushed",
                err.message);
}

static int rebuild(struct helper *helper, struct error *err)
{
    put_guard(helper);
    int r = nft_table_replace(&helper->table, helper->sandboxes, err);

    helper->broken = r < 0;
    if (r == 0)
        put_fence(helper);
    nft_events_own(&helper->events);
    return r;
}

static void rebuild_or_log(struct helper *helper)
{
    struct error err = ERROR_NONE;

    if (rebuild(helper, &err) < 0)
        log_error("%s; trying again", err.message);
    else
        log_warning("the table `inet %s` was taken away or changed by somebody else: made anew",
                    helper->table.name);
}

static void on_events(struct helper *helper)
{
    if (nft_events_foreign(&helper->events) && helper->committed &&
        json_object_size(helper->sandboxes) > 0)
        rebuild_or_log(helper);
}

/* Runs one transaction; where it fails, because the table is not what it was, all of it is made
 * anew. The events of others are looked at first, and once more afterwards. */
static int settle(struct helper *helper, int r, struct error *err)
{
    nft_events_own(&helper->events);
    if (r == 0)
        return 0;
    if (err)
        *err = ERROR_NONE;
    return rebuild(helper, err);
}

static int put_sandbox(struct helper *helper, const char *id, json_t *rules, struct error *err)
{
    bool first = json_object_size(helper->sandboxes) == 0;

    if (json_object_set(helper->sandboxes, id, rules) < 0)
        return error_oom(err);
    if (!helper->committed)
        return 0;
    if (first)
        return rebuild(helper, err);
    on_events(helper);
    return settle(helper, nft_sandbox_set(&helper->table, id, rules, err), err);
}

/* ---- operations
 * -------------------------------------------------------------------------------------- */

struct hello_params {
    const char *table, *subnet;
    int64_t prefix;
};

static const struct field hello_fields[] = {
    {"table", FIELD_STRING, offsetof(struct hello_params, table), 1, 79, true, NULL},
    {"subnet", FIELD_STRING, offsetof(struct hello_params, subnet), 7, 15, true, NULL},
    {"prefix", FIELD_INT, offsetof(struct hello_params, prefix), 8, 30, true, NULL},
};

struct sandbox_params {
    const char *id;
    json_t *rules, *addresses;
    int64_t address;
};

#define AT(member) offsetof(struct sandbox_params, member)
#define ID_FIELD                                                                                   \
    {                                                                                              \
        "sandbox", FIELD_SANDBOX_ID, AT(id), 0, 0, true, NULL                                      \
    }

static const struct field id_fields[] = {ID_FIELD};
static const struct field set_fields[] = {
    ID_FIELD,
    {"rules", FIELD_OBJECT, AT(rules), 0, 0, true, NULL},
};
static const struct field link_fields[] = {
    ID_FIELD,
    {"rules", FIELD_OBJECT, AT(rules), 0, 0, true, NULL},
    {"address", FIELD_INT, AT(address), 1, UINT32_MAX, true, NULL},
};
static const struct field addresses_fields[] = {
    ID_FIELD,
    {"addresses", FIELD_ARRAY, AT(addresses), 0, ADDRESSES_PACKET_MAX, true, NULL},
};

struct commit_params {
    bool adopt;
};

static const struct field commit_fields[] = {
    {"adopt", FIELD_BOOL, offsetof(struct commit_params, adopt), 0, 0, true, NULL},
};

static int op_hello(struct request *request, void *params, struct error *err)
{
    const struct hello_params *hello = params;
    struct helper *helper = helper_of(request);

    (void)err;
    snprintf(helper->table_name, sizeof(helper->table_name), "%s", hello->table);
    snprintf(helper->subnet, sizeof(helper->subnet), "%s", hello->subnet);
    helper->table = (struct nft_table){.name = helper->table_name,
                                       .subnet = helper->subnet,
                                       .prefix = (unsigned int)hello->prefix};
    nft_events_watch(&helper->events, helper->table_name);
    request_reply(request, NULL, NULL, 0);
    return 0;
}

static int op_set(struct request *request, void *params, struct error *err)
{
    const struct sandbox_params *set = params;

    int r = put_sandbox(helper_of(request), set->id, set->rules, err);
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

static bool same_address(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"address", "protocol", "ports"};

    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);
        if (!x != !y || (x && !json_equal(x, y)))
            return false;
    }
    return true;
}

static void merge_addresses(json_t *kept, json_t *added)
{
    egress_drop(kept, added, same_address);
    json_array_extend(kept, added);
}

/* Those that an earlier auracoded had opened. */
static void keep_addresses(struct helper *helper)
{
    const char *id;
    json_t *sandbox;

    json_object_foreach(helper->sandboxes, id, sandbox)
    {
        cleanup_json json_t *found = json_array();
        nft_addresses_read(&helper->table, id, found);
        merge_addresses(json_object_get(sandbox, "addresses"), found);
    }
}

/* Without a sandbox there is nothing to hold, and no table. */
static int op_commit(struct request *request, void *params, struct error *err)
{
    const struct commit_params *commit = params;
    struct helper *helper = helper_of(request);

    helper->committed = true;
    if (json_object_size(helper->sandboxes) > 0) {
        keep_counters(helper);
        if (commit->adopt)
            keep_addresses(helper);
        int r = rebuild(helper, err);
        if (r < 0)
            return r;
    }
    request_reply(request, NULL, NULL, 0);
    return 0;
}

static void forget_unlinked(struct helper *helper, const char *id)
{
    for (size_t i = json_array_size(helper->unlinked); i-- > 0;)
        if (str_equal(json_string_value(json_array_get(helper->unlinked, i)), id))
            json_array_remove(helper->unlinked, i);
}

/* The rules name the link before it exists, so no packet ever finds none. */
static int op_link_add(struct request *request, void *params, struct error *err)
{
    const struct sandbox_params *link = params;
    struct helper *helper = helper_of(request);
    cleanup_close int netns = ipc_fds_take(&request->fds, 0);
    cleanup_close int netlink = ipc_fds_take(&request->fds, 1);

    if (netns < 0 || netlink < 0)
        return error_set(err, EINVAL, "link.add comes with two descriptors");
    forget_unlinked(helper, link->id);
    int r = put_sandbox(helper, link->id, link->rules, err);
    if (r == 0)
        r = link_make(link->id, netns, err);
    if (r == 0)
        r = link_configure(link->id, TAKE_FD(netlink), (uint32_t)link->address, err);
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

static int op_link_remove(struct request *request, void *params, struct error *err)
{
    const struct sandbox_params *link = params;
    struct helper *helper = helper_of(request);
    int r = 0;

    on_events(helper);
    bool known = json_object_del(helper->sandboxes, link->id) == 0;
    forget_unlinked(helper, link->id);
    json_array_append_new(helper->unlinked, json_string(link->id));
    if (known && helper->committed)
        r = settle(helper, nft_sandbox_remove(&helper->table, link->id, err), err);
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

static int op_addresses(struct request *request, void *params, struct error *err)
{
    const struct sandbox_params *addresses = params;
    struct helper *helper = helper_of(request);
    json_t *sandbox = json_object_get(helper->sandboxes, addresses->id);
    json_t *kept = json_object_get(sandbox, "addresses");
    int r = 0;

    if (!json_is_array(kept))
        return error_set(err, ENOENT, "sandbox %s has no addresses", addresses->id);
    merge_addresses(kept, addresses->addresses);
    if (helper->committed) {
        on_events(helper);
        r = settle(helper,
                   nft_addresses_add(&helper->table, addresses->id, addresses->addresses, err),
                   err);
    }
    if (r == 0)
        request_reply(request, NULL, NULL, 0);
    return r;
}

static int op_counters(struct request *request, void *params, struct error *err)
{
    const struct sandbox_params *of = params;
    struct helper *helper = helper_of(request);
    json_int_t values[4] = {0};

    int r = nft_counters(&helper->table, of->id, values, err);
    if (r < 0)
        return r;
    json_t *counters = json_pack("[I, I, I, I]", values[0], values[1], values[2], values[3]);
    json_object_set(json_object_get(helper->sandboxes, of->id), "counters", counters);
    request_reply(request, json_pack("{s:o}", "counters", counters), NULL, 0);
    return 0;
}

#define FIELDS(table) table, ELEMENTS(table)

static const struct server_op operations[] = {
    {"hello", 1, STATE_NEW, FIELDS(hello_fields), 0, op_hello},
    {"sandbox.set", 1, STATE_READY, FIELDS(set_fields), 0, op_set},
    {"commit", 1, STATE_READY, FIELDS(commit_fields), 0, op_commit},
    {"link.add", 1, STATE_READY, FIELDS(link_fields), 2, op_link_add},
    {"link.remove", 1, STATE_READY, FIELDS(id_fields), 0, op_link_remove},
    {"addresses.add", 1, STATE_READY, FIELDS(addresses_fields), 0, op_addresses},
    {"counters.get", 1, STATE_READY, FIELDS(id_fields), 0, op_counters},
};

/* ---- confinement
 * -------------------------------------------------------------------------------------- */

static const struct confine_call calls[] = {
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_NETLINK},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX}, /* if_nametoindex */
    {.name = "bind"},
    {.name = "getsockname"},
    {.name = "getsockopt"},
    {.name = "setsockopt"},
    {.name = "sendto"},
    {.name = "sendmsg"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "connect"}, /* log */
    {.name = "poll"},
    {.name = "ppoll"},
    {.name = "select"},
    {.name = "pselect6"},
    {.name = "fcntl"},
    {.name = "ioctl"},
    {.name = "openat"},
    {.name = "access"},
    {.name = "faccessat"},
    {.name = "faccessat2"},
    {.name = "lseek"},
    {.name = "pread64"},
    {.name = "getdents64"},
    {.name = "uname"},
    {.name = "sysinfo"},
    {.name = "prlimit64"},
};

static int keep_net_admin(struct error *err)
{
    static const cap_value_t kept[] = {CAP_NET_ADMIN};
    cap_t set = cap_init();
    int r = set ? 0 : -1;

    for (cap_value_t capability = 0; r == 0 && CAP_IS_SUPPORTED(capability); capability++)
        if (capability != CAP_NET_ADMIN)
            r = cap_drop_bound(capability);
    for (int flag = CAP_EFFECTIVE; r == 0 && flag <= CAP_PERMITTED; flag++)
        r = cap_set_flag(set, (cap_flag_t)flag, 1, kept, CAP_SET);
    if (r == 0)
        r = cap_set_proc(set);
    int failure = errno;
    cap_free(set);
    return r < 0 ? error_sys(err, failure, "dropping capabilities") : 0;
}

/* ---- the loop
 * -------------------------------------------------------------------------------------- */

static void delete_one_link(struct helper *helper)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *id = json_incref(json_array_get(helper->unlinked, 0));

    json_array_remove(helper->unlinked, 0);
    if (link_delete(json_string_value(id), &err) < 0)
        log_warning("sandbox %s: %s", json_string_value(id), err.message);
}

static int wait_ms(const struct helper *helper)
{
    return json_array_size(helper->unlinked) > 0 ? 0 : helper->broken ? REBUILD_RETRY_MS : -1;
}

/* Until auracoded is gone. */
static void serve(struct helper *helper)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = helper->events.fd, .events = POLLIN},
                               {.fd = helper->conn.ipc.fd,
                                .events = ipc_pending(&helper->conn.ipc) ? POLLOUT : POLLIN}};
        int n = poll(fds, ELEMENTS(fds), wait_ms(helper));
        if (n == 0 && json_array_size(helper->unlinked) > 0)
            delete_one_link(helper);
        else if (n == 0 && helper->broken)
            rebuild_or_log(helper);
        on_events(helper);
        if (n > 0 && fds[1].revents && server_conn_dispatch(&helper->conn) < 0)
            return;
    }
}

void net_helper_run(int fd)
{
    struct helper helper = {.sandboxes = json_object(), .unlinked = json_array()};
    struct error err = ERROR_NONE;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "auracode-net");
    int r = nft_events_open(&helper.events, &err);
    if (r == 0)
        r = keep_net_admin(&err);
    if (r == 0)
        r = confine_calls(calls, ELEMENTS(calls), &err);
    if (r < 0) {
        log_error("network helper: %s", err.message);
        _exit(1);
    }
    server_conn_init(&helper.conn, fd, 1, operations, ELEMENTS(operations), NULL, &helper);
    serve(&helper);
    _exit(0);
}
