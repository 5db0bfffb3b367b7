/* What is left to a program that has confined itself: each case in a child of its own. Needs root,
 * as the programs need CAP_SYS_CHROOT. */
#include "base/cleanup.h"
#include "base/confine.h"
#include "base/passed-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct confine_call calls[] = {
    {.name = "openat"},
    {.name = "socket", .argument = 0, .mask = 0xffffffff, .equals = AF_UNIX},
};

/* Kept from LeakSanitizer, which has nothing to look for in these. */
static _Noreturn void end(int status)
{
    syscall(SYS_exit_group, status);
    abort();
}

static char root[] = "/tmp/auracode-unit.XXXXXX", folder[64];

static void enter(void)
{
    struct error err = ERROR_NONE;
    int fd = open(root, O_PATH | O_DIRECTORY);

    if (fd != PASSED_FDS_START && dup2(fd, PASSED_FDS_START) < 0)
        end(101);
    setenv("AURACODE_FDS", "root", 1);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (confine(calls, ELEMENTS(calls), &err) < 0)
        end(102);
}

/* The status of a child that runs `what` once confined. */
static int confined(int (*what)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        enter();
        end(what());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int see_nothing(void)
{
    return openat(AT_FDCWD, "/etc/passwd", O_RDONLY) < 0 && errno == ENOENT ? 0 : 1;
}

static int make_sockets(void)
{
    if (socket(AF_UNIX, SOCK_STREAM, 0) < 0)
        return 1;
    return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : 2;
}

static int make_executable(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return 1;
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 && errno == EPERM ? 0 : 2;
}

static int do_unlisted(void)
{
    return mkdir("/x", 0755) < 0 && errno == EPERM ? 0 : 1;
}

static int do_exec(void)
{
    execl("/bin/true", "true", NULL);
    return 0;
}

static int do_mount(void)
{
    mount("none", "/", "tmpfs", 0, NULL);
    return 0;
}

static int do_chroot(void)
{
    return chroot("/") < 0;
}

static void need_root(void)
{
    if (geteuid() != 0)
        skip();
}

static void what_is_not_listed_is_refused(void **state)
{
    int (*const cases[])(void) = {see_nothing, make_sockets, make_executable, do_unlisted};

    (void)state;
    need_root();
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        int status = confined(cases[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void an_intruder_is_killed(void **state)
{
    int (*const cases[])(void) = {do_exec, do_mount, do_chroot};

    (void)state;
    need_root();
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        int status = confined(cases[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_listed_is_refused),
        cmocka_unit_test(an_intruder_is_killed),
    };

    if (!mkdtemp(root))
        return 1;
    snprintf(folder, sizeof(folder), "%s/supervisor", root);
    mkdir(folder, 0755);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    rmdir(root);
    return failed;
}
