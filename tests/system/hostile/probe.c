/* A hostile program: one attack a verb, run inside a sandbox by the escape and resource suites.
 *
 * Theory of operation. Each verb does one thing that a sandbox must stop or survive and prints one
 * line: `ok RESULT` where the kernel let it, `errno NUMBER` where not. Whether that is good or bad
 * only the test knows, which also runs the probe where a hold was taken out. Built static, so that
 * it needs nothing of the image. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

static int tell(long result)
{
    if (result < 0)
        printf("errno %d\n", errno);
    else
        printf("ok %ld\n", result);
    fflush(stdout);
    return 0;
}

static long number(char **arguments, int index)
{
    for (int i = 0; i < index; i++)
        if (!arguments[i])
            return 0;
    return arguments[index] ? (long)strtoull(arguments[index], NULL, 0) : 0;
}

/* call NUMBER [ARGUMENT...]: any system call; pointers are numbers too, so mostly bad ones. */
static int call(char **arguments)
{
    long values[7];
    int given = 0;

    for (int i = 0; i < 7; i++) {
        values[i] = given == i && arguments[i] ? (long)strtoull(arguments[i], NULL, 0) : 0;
        given += given == i && arguments[i];
    }
    return tell(syscall(values[0], values[1], values[2], values[3], values[4], values[5],
                        values[6]));
}

/* calls NUMBER...: each with bad arguments; one line each. */
static int calls(char **arguments)
{
    for (; *arguments; arguments++) {
        long call_number = (long)strtoull(*arguments, NULL, 0);
        printf("%ld ", call_number);
        tell(syscall(call_number, -1L, 1L, 1L, 1L, 1L, 1L));
    }
    return 0;
}

/* getpid by the 32-bit gate of the same kernel. */
static int int80(char **arguments)
{
    long result;

    (void)arguments;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    errno = (int)-result;
    return tell(result < 0 ? -1 : result);
}

static int x32(char **arguments)
{
    (void)arguments;
    return tell(syscall(0x40000000L | SYS_getpid));
}

/* clone FLAGS: a child that ends at once. */
static int clone_verb(char **arguments)
{
    long pid = syscall(SYS_clone, number(arguments, 0) | SIGCHLD, 0L, 0L, 0L, 0L);

    if (pid == 0)
        _exit(0);
    return tell(pid);
}

static int clone3_verb(char **arguments)
{
    struct clone_args what = {.flags = (uint64_t)number(arguments, 0), .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &what, sizeof(what));

    if (pid == 0)
        _exit(0);
    return tell(pid);
}

/* A new user namespace, and root in it: what nested namespaces are wanted for. */
static int nested(char **arguments)
{
    (void)arguments;
    return tell(syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET));
}

/* tty-push REQUEST: types a character into the terminal on stdin. */
static int tty_push(char **arguments)
{
    char key = 'x';

    return tell(syscall(SYS_ioctl, 0L, number(arguments, 0), &key));
}

static int io_uring(char **arguments)
{
    char parameters[120] = {0};

    (void)arguments;
    return tell(syscall(SYS_io_uring_setup, 8L, parameters));
}

static int attach(char **arguments)
{
    pid_t pid = (pid_t)number(arguments, 0), child = 0;

    if (pid == 0) {
        child = fork();
        if (child == 0) {
            pause();
            _exit(0);
        }
        pid = child;
    }
    long result = ptrace(PTRACE_SEIZE, pid, 0, 0);
    int saved = errno;
    if (child)
        kill(child, SIGKILL);
    errno = saved;
    return tell(result);
}

static int key(char **arguments)
{
    (void)arguments;
    /* KEY_SPEC_USER_KEYRING: the one shared by all processes of a uid. */
    return tell(syscall(SYS_add_key, "user", "probe", "secret", 6L, -4L));
}

/* keys: as many as the uid may have; each process of the session has its own name for them. */
static int keys(char **arguments)
{
    long count = 0;
    char name[32];

    (void)arguments;
    do
        snprintf(name, sizeof(name), "probe-%ld", count);
    while (syscall(SYS_add_key, "user", name, "secret", 6L, -4L) >= 0 && ++count < 1000000);
    printf("ok %ld errno %d\n", count, errno);
    return 0;
}

static int open_socket(char **arguments)
{
    return tell(socket((int)number(arguments, 0), (int)number(arguments, 1),
                       (int)number(arguments, 2)));
}

/* open PATH FLAGS */
static int open_verb(char **arguments)
{
    return tell(arguments[0] ? open(arguments[0], (int)number(arguments, 1) | O_NONBLOCK) : -1);
}

/* handle PATH: a file handle, which reaches past mounts. */
static int handle(char **arguments)
{
    char space[sizeof(struct file_handle) + 128];
    struct file_handle *file = (struct file_handle *)space;
    int mount_id;

    file->handle_bytes = 128;
    return tell(name_to_handle_at(AT_FDCWD, arguments[0], file, &mount_id, 0));
}

/* securebits: tries to unlock them, prints what they are. */
static int securebits(char **arguments)
{
    (void)arguments;
    prctl(PR_SET_SECUREBITS, 0, 0, 0, 0);
    return tell(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
}

/* swap A B: exchanges two names until it is killed. */
static int swap(char **arguments)
{
    printf("ok\n");
    fflush(stdout);
    while (syscall(SYS_renameat2, AT_FDCWD, arguments[0], AT_FDCWD, arguments[1],
                   RENAME_EXCHANGE) == 0)
        continue;
    return tell(-1);
}

/* session: our session and group, and the session that owns the terminal on stdin. */
static int session(char **arguments)
{
    pid_t leader = -1;

    (void)arguments;
    printf("sid %d pgid %d terminal %d\n", getsid(0), getpgid(0),
           ioctl(0, TIOCGSID, &leader) < 0 ? -1 : leader);
    return 0;
}

/* ---- resources ---- */

/* forks: children until the kernel refuses, all waited for. */
static int forks(char **arguments)
{
    long count = 0, most = arguments[0] ? number(arguments, 0) : 100000;
    int saved = 0;

    setpgid(0, 0);
    for (; count < most; count++) {
        pid_t pid = fork();
        if (pid < 0) {
            saved = errno;
            break;
        }
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    while (wait(NULL) > 0)
        continue;
    printf("ok %ld errno %d\n", count, saved);
    return 0;
}

/* memory MIB: touched page by page. */
static int memory(char **arguments)
{
    size_t bytes = (size_t)number(arguments, 0) << 20;
    volatile char *space =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (space == MAP_FAILED)
        return tell(-1);
    for (size_t i = 0; i < bytes; i += 4096)
        space[i] = (char)i;
    tell((long)(bytes >> 20));
    if (arguments[1])
        pause();
    return 0;
}

/* fill PATH: one file until the disk is full. */
static int fill(char **arguments)
{
    static char block[1 << 20];
    long written = 0;
    int fd = open(arguments[0], O_WRONLY | O_CREAT | O_TRUNC, 0644), saved;

    memset(block, 0x5a, sizeof(block));
    if (fd < 0)
        return tell(-1);
    for (;;) {
        ssize_t n = write(fd, block, sizeof(block));
        if (n <= 0)
            break;
        written += n;
        /* Delayed allocation must not hide the limit. */
        if (fdatasync(fd) < 0)
            break;
    }
    saved = errno;
    printf("ok %ld errno %d\n", written, saved);
    return 0;
}

/* many DIR: empty files until it is refused. */
static int many(char **arguments)
{
    long count = 0;
    char name[64];
    int folder = open(arguments[0], O_RDONLY | O_DIRECTORY);

    for (; folder >= 0; count++) {
        snprintf(name, sizeof(name), "f%ld", count);
        int fd = openat(folder, name, O_WRONLY | O_CREAT, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    printf("ok %ld errno %d\n", count, errno);
    return 0;
}

/* project FILE ID: moves a file to another quota project. */
static int project(char **arguments)
{
    struct fsxattr attributes;
    int fd = open(arguments[0], O_RDONLY);

    if (fd < 0 || ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return tell(-1);
    attributes.fsx_projid = (unsigned int)strtoul(arguments[1], NULL, 10);
    return tell(ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
}

static int descriptors(char **arguments)
{
    long count = 0;

    (void)arguments;
    while (open("/dev/null", O_RDONLY) >= 0)
        count++;
    printf("ok %ld errno %d\n", count, errno);
    return 0;
}

/* Instances first, then watches on the last of them. */
static int watches(char **arguments)
{
    long instances = 0, count = 0;
    int last = -1, fd, refused;
    char name[64];

    while ((fd = inotify_init1(0)) >= 0) {
        last = fd;
        instances++;
    }
    refused = errno;
    for (mkdir(arguments[0], 0700); last >= 0; count++) {
        snprintf(name, sizeof(name), "%s/%ld", arguments[0], count);
        if (mkdir(name, 0700) < 0 || inotify_add_watch(last, name, IN_ALL_EVENTS) < 0)
            break;
    }
    printf("ok %ld errno %d watches %ld errno %d\n", instances, refused, count, errno);
    return 0;
}

/* hold-watches: all inotify instances that can be had, until it is killed. */
static int hold_watches(char **arguments)
{
    long instances = 0;

    (void)arguments;
    while (inotify_init1(0) >= 0)
        instances++;
    tell(instances);
    pause();
    return 0;
}

/* zombies COUNT: children of PID 1 that end at once, again and again. */
static int zombies(char **arguments)
{
    long made = 0;

    for (long most = number(arguments, 0); made < most; made++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
        if (pid > 0)
            waitpid(pid, NULL, 0);
    }
    return tell(made);
}

/* flood BYTES: to stdout, as fast as it is taken. */
static int flood(char **arguments)
{
    static char line[65536];
    long most = number(arguments, 0), written = 0;

    memset(line, 'x', sizeof(line));
    for (size_t i = 99; i < sizeof(line); i += 100)
        line[i] = '\n';
    while (most == 0 || written < most) {
        ssize_t n = write(1, line, sizeof(line));
        if (n < 0)
            return 1;
        written += n;
    }
    return 0;
}

static const struct {
    const char *name;
    int (*run)(char **arguments);
} verbs[] = {
    {"call", call},
    {"calls", calls},
    {"int80", int80},
    {"x32", x32},
    {"clone", clone_verb},
    {"clone3", clone3_verb},
    {"nested", nested},
    {"tty-push", tty_push},
    {"io_uring", io_uring},
    {"attach", attach},
    {"key", key},
    {"keys", keys},
    {"socket", open_socket},
    {"open", open_verb},
    {"handle", handle},
    {"securebits", securebits},
    {"swap", swap},
    {"session", session},
    {"forks", forks},
    {"memory", memory},
    {"fill", fill},
    {"many", many},
    {"project", project},
    {"descriptors", descriptors},
    {"watches", watches},
    {"hold-watches", hold_watches},
    {"zombies", zombies},
    {"flood", flood},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argv + 2);
    fprintf(stderr, "probe: no such verb\n");
    return 2;
}
