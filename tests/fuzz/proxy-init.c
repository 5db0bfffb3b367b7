/* Fuzz target: what a sandbox's init, and the supervisor, tell the proxy. Every line is a packet of
 * the init, or with `>` in front one of the supervisor, `@` in front of the rest: with a
 * descriptor. Calls are numbered from 1: ports.list and service.get to the init; sandbox.connect,
 * answered here, to the supervisor. What was understood is then shown on the proxy's pages. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "proxy/control.h"
#include "proxy/page.h"
#include "proxy/stock.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SANDBOX "aaaaaaaaaaaa"

static struct proxy proxy;
static char memory[BUFFER_SIZE];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    if (routes_init(&proxy.routes) < 0)
        fuzz_give_up("routes_init");
    return 0;
}

static void show(struct sandbox *sandbox)
{
    struct buffer out = {.data = memory};
    struct page page = {.status = 503,
                        .code = "starting",
                        .title = "title",
                        .message = sandbox->detail.cause,
                        .lines = sandbox->detail.lines,
                        .ports = sandbox->detail.ports,
                        .n_ports = sandbox->detail.n_ports,
                        .port_prefix = "http://",
                        .port_suffix = ".localhost/"};

    page_write_html(&out, &page, false, true);
    out = (struct buffer){.data = memory};
    page_write_json(&out, &page, false, true);
}

struct world {
    struct control control;
    struct sandbox *sandbox;
    struct ipc supervisor, init; /* the far ends */
};

static void pair(struct ipc *far, int *ret_near)
{
    int fds[2];

    if (ipc_pair(fds) < 0)
        fuzz_give_up("socketpair");
    ipc_init(far, fds[0]);
    *ret_near = fds[1];
}

static void open_world(struct world *world)
{
    static const char connected[] = "{\"id\":1,\"ok\":{\"generation\":7}}";
    int near;

    memset(world, 0, sizeof(*world));
    world->control.proxy = &proxy;
    world->control.epoll = epoll_create1(EPOLL_CLOEXEC);
    pair(&world->supervisor, &near);
    rpc_init(&world->control.supervisor, near, NULL, &world->control);
    world->control.connected = world->control.up = true;
    world->sandbox = sandbox_get(&proxy.routes, SANDBOX);
    struct link *link = world->sandbox ? link_of(&world->control, world->sandbox) : NULL;
    if (world->control.epoll < 0 || !link)
        fuzz_give_up("set-up");
    cleanup_json json_t *sandbox = json_pack("{s:s, s:s}", "state", "running", "access", "public");
    if (!sandbox)
        fuzz_give_up("memory");
    link_state(link, sandbox);
    pair(&world->init, &near);
    fuzz_send(world->supervisor.fd, (struct span){connected, sizeof(connected) - 1}, near);
    close(near);
    rpc_dispatch(&world->control.supervisor);
}

static void close_world(struct world *world)
{
    rpc_close(&world->control.supervisor);
    links_free(&world->control);
    stock_clear(world->sandbox, 0);
    sandbox_forget(&proxy.routes, world->sandbox);
    sandbox_unref(world->sandbox);
    for (struct sandbox *asked; (asked = routes_asked(&proxy.routes));)
        sandbox_unref(asked);
    close(world->control.epoll);
    ipc_close(&world->supervisor);
    ipc_close(&world->init);
}

/* False: the supervisor's connection is over. */
static bool deliver(struct world *world, struct span line)
{
    bool from_supervisor = line.length > 0 && line.data[0] == '>';
    struct link *link = world->sandbox->link;
    int fd = -1, r = 0;

    if (from_supervisor)
        line = (struct span){line.data + 1, line.length - 1};
    if (line.length > 0 && line.data[0] == '@') {
        fd = world->init.fd;
        line = (struct span){line.data + 1, line.length - 1};
    }
    fuzz_send(from_supervisor ? world->supervisor.fd : world->init.fd, line, fd);
    if (from_supervisor)
        r = rpc_dispatch(&world->control.supervisor);
    else if (link && sandbox_view(world->sandbox).state == ROUTE_RUNNING)
        link_event(link);
    else if (link && sandbox_view(world->sandbox).state == ROUTE_LINKING)
        link_event(link);
    fuzz_drain(&world->supervisor);
    fuzz_drain(&world->init);
    show(world->sandbox);
    return r >= 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size}, line;
    struct world world;

    open_world(&world);
    while (span_line(&rest, &line) && deliver(&world, line))
        ;
    links_tick(&world.control);
    close_world(&world);
    return 0;
}
