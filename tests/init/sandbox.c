/* Theory of operation. Our child (the keeper) unshares; we write its id maps from outside, since
 * only the host's root may map a range. Its child is PID 1: it builds the root, takes its
 * capabilities down to what the supervisor would leave, puts the descriptors in place and executes
 * the init from a descriptor. */
#include "sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ROOT "/mnt"

static const char boot_config[] =
    "{\"sandbox\":\"abcdefghij23\",\"generation\":7,\"hostname\":\"test\","
    "\"env\":{\"FROM_BOOT\":\"yes\",\"BOTH\":\"boot\"},\"rlimits\":{\"nofile\":512,\"core\":0},"
    "\"landlock\":{\"user\":[{\"paths\":[\"/\"],"
    "\"access\":[\"read\",\"write\",\"create\",\"execute\",\"ioctl\"]}]},"
    "\"egress\":\"none\",\"log_bytes\":262144,\"processes_max\":64}";

static void die(const char *step)
{
    perror(step);
    _exit(120);
}

#define MUST(call)                                                                                 \
    do                                                                                             \
        if ((call) < 0)                                                                            \
            die(#call);                                                                            \
    while (0)

static const struct {
    const char *path;
    mode_t mode;
    uid_t owner;
} folders[] = {
    {ROOT "/usr", 0755, 0},  {ROOT "/etc", 0755, 0},     {ROOT "/proc", 0755, 0},
    {ROOT "/dev", 0755, 0},  {ROOT "/dev/pts", 0755, 0}, {ROOT "/app", 0755, 1000},
    {ROOT "/home", 0755, 0}, {ROOT "/tmp", 01777, 0},    {ROOT "/home/user", 0755, 1000},
};

static const struct {
    const char *source, *target;
} files[] = {{"/dev/null", ROOT "/dev/null"},
             {"/dev/urandom", ROOT "/dev/urandom"},
             {NULL, ROOT "/helper"}}; /* NULL: this program */

static void bind_file(const char *source, const char *target)
{
    char self[4096] = "";
    int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

    MUST(fd);
    close(fd);
    if (!source) {
        /* By name: the link itself leads to the mount namespace that was left. */
        MUST(readlink("/proc/self/exe", self, sizeof(self) - 1));
        source = self;
    }
    MUST(mount(source, target, NULL, MS_BIND, NULL));
}

static void build_root(void)
{
    static const char *const links[] = {"bin", "sbin", "lib", "lib64"};

    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mount("tmpfs", ROOT, "tmpfs", 0, "mode=0755"));
    umask(0);
    for (size_t i = 0; i < ELEMENTS(folders); i++) {
        MUST(mkdir(folders[i].path, folders[i].mode));
        MUST(chown(folders[i].path, folders[i].owner, folders[i].owner));
    }
    for (size_t i = 0; i < ELEMENTS(links); i++) {
        cleanup_free char *target = str_format("usr/%s", links[i]);
        cleanup_free char *link = str_format(ROOT "/%s", links[i]);
        MUST(symlink(target, link));
    }
    MUST(mount("/usr", ROOT "/usr", NULL, MS_BIND | MS_REC, NULL));
    MUST(mount("/etc", ROOT "/etc", NULL, MS_BIND | MS_REC, NULL));
    for (size_t i = 0; i < ELEMENTS(files); i++)
        bind_file(files[i].source, files[i].target);
    MUST(mount("proc", ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    MUST(mount("devpts", ROOT "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666"));
    MUST(symlink("pts/ptmx", ROOT "/dev/ptmx"));
    MUST(chroot(ROOT));
    MUST(chdir("/"));
}

static void loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    MUST(fd);
    MUST(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

static void limit_capabilities(void)
{
    const unsigned int kept =
        1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_SETPCAP | 1u << CAP_KILL;

    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (capability > 31 || !(kept & 1u << capability))
            MUST(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

struct plan {
    int fds[4]; /* for descriptors 3 to 6 */
    int init_fd;
};

static void run_init(struct plan *plan)
{
    char *argv[] = {(char *)"auracode-init", NULL}, *environment[] = {NULL};

    build_root();
    loopback_up();
    limit_capabilities();
    /* First out of the way of the targets. */
    MUST(plan->init_fd = fcntl(plan->init_fd, F_DUPFD_CLOEXEC, 20));
    for (int i = 0; i < 4; i++)
        MUST(plan->fds[i] = fcntl(plan->fds[i], F_DUPFD, 21));
    for (int i = 0; i < 4; i++)
        MUST(dup2(plan->fds[i], 3 + i));
    MUST(syscall(SYS_close_range, 7u, 19u, 0u));
    MUST(syscall(SYS_close_range, 21u, ~0u, 0u));
    syscall(SYS_execveat, plan->init_fd, "", argv, environment, AT_EMPTY_PATH);
    die("execveat");
}

static void run_keeper(struct plan *plan, int ready_fd, int mapped_fd)
{
    char byte = 0;
    int status;

    MUST(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                 CLONE_NEWUTS));
    MUST(write(ready_fd, &byte, 1));
    MUST(read(mapped_fd, &byte, 1));
    MUST(setresgid(0, 0, 0));
    MUST(setresuid(0, 0, 0));
    pid_t pid = fork();
    MUST(pid);
    if (pid == 0)
        run_init(plan);
    MUST(syscall(SYS_close_range, 3u, ~0u, 0u)); /* so that the init's ends close with the init */
    MUST(waitpid(pid, &status, 0));
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void write_map(pid_t pid, const char *name)
{
    cleanup_free char *path = str_format("/proc/%d/%s", (int)pid, name);
    cleanup_free char *map = str_format("0 %u 65536", SANDBOX_ID_BASE);

    assert_int_equal(file_write_existing(AT_FDCWD, path, map, NULL), 0);
}

static void start_keeper(struct sandbox *sandbox, struct plan *plan)
{
    int ready[2], mapped[2];
    char byte = 0;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(mapped, O_CLOEXEC), 0);
    fflush(NULL);
    sandbox->keeper = fork();
    assert_true(sandbox->keeper >= 0);
    if (sandbox->keeper == 0)
        run_keeper(plan, ready[1], mapped[0]);
    close(ready[1]);
    close(mapped[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    write_map(sandbox->keeper, "uid_map");
    write_map(sandbox->keeper, "gid_map");
    assert_int_equal(write(mapped[1], &byte, 1), 1);
    close(ready[0]);
    close(mapped[1]);
}

/* Until the end: the init closes its end once it has told. */
static void read_status(int fd)
{
    char line[256] = "";
    size_t length = 0;
    ssize_t n;

    do {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, 10000), 1);
        n = read(fd, line + length, sizeof(line) - 1 - length);
        assert_true(n >= 0);
        length += (size_t)n;
    } while (n > 0);
    if (!str_starts(line, "{\"ready\":true,"))
        fail_msg("%s", line);
}

void sandbox_start(struct sandbox *sandbox, const char *init_path)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct plan plan;
    int status[2];

    strcpy(sandbox->directory, "/tmp/init-test-XXXXXX");
    assert_non_null(mkdtemp(sandbox->directory));
    sandbox->directory_fd = open(sandbox->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(pipe2(status, O_CLOEXEC), 0);
    plan.fds[0] = ipc_listen(sandbox->directory_fd, "init.sock", 0600, 16, NULL);
    plan.fds[1] = memfd_sealed("config", boot_config, strlen(boot_config), NULL);
    plan.fds[2] = memfd_sealed("seccomp", &allow, sizeof(allow), NULL);
    plan.fds[3] = status[1];
    plan.init_fd = open(init_path, O_RDONLY | O_CLOEXEC);
    assert_true(plan.init_fd >= 0);
    start_keeper(sandbox, &plan);
    for (int i = 0; i < 4; i++)
        close(plan.fds[i]);
    close(plan.init_fd);
    read_status(status[0]);
    close(status[0]);
}

void sandbox_connect(const struct sandbox *sandbox, const char *role, struct rpc *ret_rpc)
{
    json_t *result = NULL;
    int fd = ipc_connect(sandbox->directory_fd, "init.sock", NULL);

    assert_true(fd >= 0);
    rpc_init(ret_rpc, fd, NULL, NULL);
    if (!*role)
        return;
    assert_int_equal(
        rpc_call_wait(ret_rpc, "hello", json_pack("{s:s}", "role", role), 5000, &result, NULL), 0);
    assert_int_equal(json_integer_value(json_object_get(result, "generation")), 7);
    json_decref(result);
}

void sandbox_signal(const struct sandbox *sandbox, int signal)
{
    cleanup_free char *path =
        str_format("/proc/%d/task/%d/children", (int)sandbox->keeper, (int)sandbox->keeper);
    cleanup_free char *text = NULL;
    uint64_t pid;

    assert_int_equal(file_read(AT_FDCWD, path, 64, &text, NULL, NULL), 0);
    text[strcspn(text, " ")] = '\0';
    assert_int_equal(parse_u64(text, 2, INT32_MAX, &pid), 0);
    assert_int_equal(kill((pid_t)pid, signal), 0);
}

int sandbox_wait(struct sandbox *sandbox)
{
    int status, pidfd = (int)syscall(SYS_pidfd_open, sandbox->keeper, 0);
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};

    assert_true(pidfd >= 0);
    assert_int_equal(poll(&wait, 1, 10000), 1);
    close(pidfd);
    assert_int_equal(waitpid(sandbox->keeper, &status, 0), sandbox->keeper);
    sandbox->keeper = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void sandbox_stop(struct sandbox *sandbox)
{
    if (sandbox->keeper > 0) {
        struct rpc rpc;
        json_t *result = NULL;
        sandbox_connect(sandbox, "supervisor", &rpc);
        assert_int_equal(
            rpc_call_wait(&rpc, "shutdown", json_pack("{s:i}", "grace_ms", 0), 5000, &result, NULL),
            0);
        json_decref(result);
        rpc_close(&rpc);
        assert_int_equal(sandbox_wait(sandbox), 0);
    }
    unlinkat(sandbox->directory_fd, "init.sock", 0);
    close(sandbox->directory_fd);
    rmdir(sandbox->directory);
}
