/* Fuzz target: what the API, the proxy and the resolver may send to the supervisor. Every line is a
 * packet, one that begins with `@` with a descriptor; with `#` in front of it all, hello was not
 * said yet. The table is the supervisor's own; operations that would start, stop or remove
 * something outside of this process are decoded only. The supervisor is stopping, so that
 * sandbox.create ends behind its checks. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"
#include "supervisor/operations.h"
#include "supervisor/program.h"
#include "supervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PROGRAM_ROOM 4096u /* bytes, at least of a struct program */

static struct supervisor supervisor = {.stopping = true};
static struct server_op *ops;

void supervisor_check_stopped(struct supervisor *unused)
{
    (void)unused;
}

static const char *const carried_out[] = {
    "hello",           "sandbox.create", "sandbox.get",     "sandbox.list",  "sandbox.stop",
    "sandbox.connect", "sandbox.report", "sandbox.sockets", "sandbox.stats", "template.list"};

static int decoded(struct request *request, void *params, struct error *err)
{
    (void)params;
    (void)err;
    request_reply(request, NULL, NULL, 0);
    return 0;
}

static bool is_carried_out(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(carried_out); i++)
        if (str_equal(carried_out[i], name))
            return true;
    return false;
}

static void add_sandbox(const char *id, enum sandbox_state state, const char *cause)
{
    struct sandbox *sandbox = sandbox_alloc(&supervisor, id);

    if (!sandbox)
        fuzz_give_up("sandbox_alloc");
    sandbox->spec =
        json_pack("{s:s, s:s, s:{s:s}, s:{}, s:s, s:s, s:s}", "template", "base", "name", "x",
                  "env", "A", "1", "labels", "owner", "o", "egress", "none", "policy", "default");
    sandbox->layers = json_array();
    sandbox->limits = supervisor.config.limits;
    sandbox->state = state;
    if (cause)
        cause_set(&sandbox->cause, CAUSE_SIGNAL, json_pack("{s:s}", "signal", "SIGKILL"), "%s",
                  cause);
    sandbox->next = supervisor.sandboxes;
    supervisor.sandboxes = sandbox;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct error err = ERROR_NONE;

    (void)argc;
    (void)argv;
    ops = calloc(n_operations, sizeof(*ops));
    /* Programs without a role: a hello finds none to leave its listening sockets with. */
    supervisor.programs = calloc(PROGRAMS, PROGRAM_ROOM);
    if (!ops || !supervisor.programs || config_init(&supervisor.config, &err) < 0)
        fuzz_give_up("set-up");
    for (size_t i = 0; i < n_operations; i++) {
        ops[i] = operations[i];
        if (!is_carried_out(ops[i].name))
            ops[i].handler = decoded;
    }
    supervisor.templates_fd = open(fuzz_folder(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (supervisor.templates_fd < 0)
        fuzz_give_up("open");
    supervisor.disk = &disk_plain;
    add_sandbox("aaaaaaaaaaaa", SANDBOX_STOPPED, NULL);
    add_sandbox("bbbbbbbbbbbb", SANDBOX_FAILED, "the init ended: killed by SIGKILL");
    add_sandbox("cccccccccccc", SANDBOX_REMOVING, NULL);
    return 0;
}

struct side {
    struct server_conn conn;
    struct ipc peer;
};

static void open_side(struct side *side, unsigned int role, bool greeted)
{
    int fds[2];

    if (ipc_pair(fds) < 0)
        fuzz_give_up("socketpair");
    server_conn_init(&side->conn, fds[0], role, ops, n_operations, operation_admit, &supervisor);
    side->conn.greeted = greeted;
    ipc_init(&side->peer, fds[1]);
}

static void close_side(struct side *side)
{
    server_conn_close(&side->conn);
    ipc_close(&side->peer);
}

static void ask(unsigned int role, struct span input)
{
    bool greeted = input.length == 0 || input.data[0] != '#';
    struct side side;
    struct span line;

    if (!greeted)
        input = (struct span){input.data + 1, input.length - 1};
    open_side(&side, role, greeted);
    while (span_line(&input, &line)) {
        int fd = -1;
        if (line.length > 0 && line.data[0] == '@') {
            fd = side.peer.fd;
            line = (struct span){line.data + 1, line.length - 1};
        }
        fuzz_send(side.peer.fd, line, fd);
        int r = server_conn_dispatch(&side.conn);
        fuzz_drain(&side.peer);
        if (r == 0)
            continue;
        close_side(&side);
        open_side(&side, role, greeted);
    }
    close_side(&side);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ask(ROLE_API, (struct span){(const char *)data, size});
    ask(ROLE_PROXY, (struct span){(const char *)data, size});
    ask(ROLE_RESOLVER, (struct span){(const char *)data, size});
    return 0;
}
