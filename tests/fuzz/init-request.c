/* Fuzz target: what the API asks of a sandbox's init. Every line is a packet, one that begins with
 * `@` with a descriptor. File operations are carried out below a root folder of our own, made anew
 * for each input; operations that start or end processes are decoded only. Needs root for chroot.
 */
#include "fuzz.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/protocol.h"
#include "base/server.h"
#include "base/str.h"
#include "init/boot.h"
#include "init/conn.h"
#include "init/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct server_op ops[64];
static size_t n_ops;
static int old_root = -1, base = -1;

static const char *const decoded_only[] = {"process.start", "service.set", "service.stop",
                                           "service.attach", "file.remove"};

static int decoded(struct request *request, void *params, struct error *err)
{
    (void)params;
    (void)err;
    request_reply(request, NULL, NULL, 0);
    return 0;
}

static void add_ops(const struct server_op *table, size_t count)
{
    if (n_ops + count > ELEMENTS(ops))
        fuzz_give_up("the table of operations is too small");
    for (size_t i = 0; i < count; i++) {
        ops[n_ops] = table[i];
        for (size_t k = 0; k < ELEMENTS(decoded_only); k++)
            if (str_equal(table[i].name, decoded_only[k]))
                ops[n_ops].handler = decoded;
        n_ops++;
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    add_ops(process_ops, n_process_ops);
    add_ops(file_ops, n_file_ops);
    add_ops(service_ops, n_service_ops);
    boot.processes_max = 1;
    boot.log_bytes = 1 << 18;
    if (loop_open() < 0)
        fuzz_give_up("loop_open");
    service_init();
    old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    base = open(fuzz_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (old_root < 0 || base < 0)
        fuzz_give_up("open");
    return 0;
}

/* What a project may hold: files, folders, links that lead out, a FIFO, a name that is no UTF-8. */
static void make_root(int root)
{
    static const char *const folders[] = {"app", "app/d", "app/d/e", "home", "home/user", "tmp"};
    static const struct {
        const char *path, *target;
    } links[] = {{"app/up", "../../.."}, {"app/abs", "/tmp"}, {"app/in", "d/e"}, {"app/me", "me"}};

    for (size_t i = 0; i < ELEMENTS(folders); i++)
        if (mkdirat(root, folders[i], 0755) < 0 ||
            fchownat(root, folders[i], USER_ID, USER_ID, 0) < 0)
            fuzz_give_up("mkdir");
    for (size_t i = 0; i < ELEMENTS(links); i++)
        if (symlinkat(links[i].target, root, links[i].path) < 0)
            fuzz_give_up("symlink");
    cleanup_close int file = openat(root, "app/f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    cleanup_close int odd = openat(root, "app/d/\xff", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || odd < 0 || mknodat(root, "app/fifo", S_IFIFO | 0666, 0) < 0)
        fuzz_give_up("creating files");
}

static void enter(void)
{
    struct error err = ERROR_NONE;

    if (remove_tree(base, "root", &err) < 0 || mkdirat(base, "root", 0755) < 0)
        fuzz_give_up("the root folder");
    cleanup_close int root = openat(base, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        fuzz_give_up("the root folder");
    make_root(root);
    if (fchdir(root) < 0 || chroot(".") < 0)
        fuzz_give_up("chroot");
}

static void leave(void)
{
    if (fchdir(old_root) < 0 || chroot(".") < 0)
        fuzz_give_up("leaving the root folder");
}

struct side {
    struct server_conn conn;
    struct ipc peer;
};

static void open_side(struct side *side)
{
    int fds[2];

    if (ipc_pair(fds) < 0)
        fuzz_give_up("socketpair");
    server_conn_init(&side->conn, fds[0], ROLE_API, ops, n_ops, NULL, NULL);
    side->conn.greeted = true;
    ipc_init(&side->peer, fds[1]);
}

static void close_side(struct side *side)
{
    file_conn_closed(&side->conn);
    server_conn_close(&side->conn);
    ipc_close(&side->peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size}, line;
    struct side side;

    enter();
    open_side(&side);
    while (span_line(&rest, &line)) {
        bool with_fd = line.length > 0 && line.data[0] == '@';
        if (with_fd)
            line = (struct span){line.data + 1, line.length - 1};
        fuzz_send(side.peer.fd, line, with_fd ? side.peer.fd : -1);
        int r = server_conn_dispatch(&side.conn);
        fuzz_drain(&side.peer);
        if (r == 0)
            continue;
        close_side(&side);
        open_side(&side);
    }
    close_side(&side);
    leave();
    return 0;
}
