/* Fuzz target: what a sandbox's init tells the supervisor. Every line is a packet, one that begins
 * with `@` with a descriptor; after the last one the init hangs up. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "supervisor/sandbox.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct supervisor supervisor;
static int listener, folder;

void supervisor_check_stopped(struct supervisor *unused)
{
    (void)unused;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct error err = ERROR_NONE;

    (void)argc;
    (void)argv;
    folder = open(fuzz_folder(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || sd_event_new(&supervisor.event) < 0)
        fuzz_give_up("set-up");
    listener = ipc_listen(folder, "init.sock", 0600, 4, &err);
    if (listener < 0)
        fuzz_give_up("ipc_listen");
    return 0;
}

static struct sandbox *connect_sandbox(struct ipc *ret_init)
{
    struct sandbox *sandbox = sandbox_alloc(&supervisor, "aaaaaaaaaaaa");
    struct error err = ERROR_NONE;

    if (!sandbox)
        fuzz_give_up("sandbox_alloc");
    sandbox->state = SANDBOX_RUNNING;
    sandbox->run_dir_fd = dup(folder);
    if (sandbox_connect_init(sandbox, &err) < 0)
        fuzz_give_up("sandbox_connect_init");
    ipc_init(ret_init, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    return sandbox;
}

static void run_loop(struct ipc *init)
{
    int r;

    do {
        r = sd_event_run(supervisor.event, 0);
        if (init->fd >= 0)
            fuzz_drain(init);
    } while (r > 0);
}

/* Only what was there is counted, and never less than before. */
static void check(const struct sandbox *sandbox, int64_t *seen)
{
    if (sandbox->oom_kills < *seen)
        abort();
    *seen = sandbox->oom_kills;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size}, line;
    struct ipc init;
    struct sandbox *sandbox = connect_sandbox(&init);
    int64_t seen = 0;

    while (span_line(&input, &line)) {
        int fd = -1;
        if (line.length > 0 && line.data[0] == '@') {
            fd = init.fd;
            line = (struct span){line.data + 1, line.length - 1};
        }
        fuzz_send(init.fd, line, fd);
        run_loop(&init);
        check(sandbox, &seen);
    }
    ipc_close(&init);
    run_loop(&init);
    sandbox_free(sandbox);
    return 0;
}
