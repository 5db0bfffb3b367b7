/* Theory of operation. PID 1 of a sandbox: one thread, one loop. It answers on the passed socket,
 * starts what it is asked to start, collects whoever ends, and ends itself when it is told to or
 * when everything else has been stopped. It does not log: what matters goes through the socket. */
#include "init/boot.h"
#include "init/conn.h"
#include "init/counters.h"
#include "init/forker.h"
#include "init/oom.h"
#include "init/process-io.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#define TERM_GRACE_MS 5000

static void on_signal(struct watch *watch, uint32_t events)
{
    struct signalfd_siginfo info;
    bool reap = false;

    (void)events;
    while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        reap = reap || info.ssi_signo == SIGCHLD;
        /* From outside the PID namespace: the sandbox's own root has no say in it. */
        if (info.ssi_signo == SIGTERM && info.ssi_pid == 0)
            process_stop_all(TERM_GRACE_MS, loop_quit);
    }
    if (reap)
        process_reap();
}

static int watch_signals(struct error *err)
{
    static struct watch watch = {.handler = on_signal};
    sigset_t mask;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
        return error_sys(err, errno, "sigprocmask");
    watch.fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (watch.fd < 0)
        return error_sys(err, errno, "signalfd");
    int r = loop_watch(&watch, EPOLLIN);
    return r < 0 ? error_sys(err, r, "epoll_ctl") : 0;
}

/* Later descriptors must not land on the standard streams, which children get replaced. */
static int fill_stdio(struct error *err)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return error_sys(err, errno, "open `/dev/null`");
    return 0;
}

static int boot_up(struct error *err)
{
    /* Signals go to every process there is (process_stop_all). */
    if (getpid() != 1)
        return error_set(err, EPERM, "auracode-init is started by auracoded, as the first process");
    int r = fill_stdio(err);
    if (r >= 0)
        r = boot_read(err);
    if (r >= 0)
        r = forker_confine(err);
    if (r < 0)
        return r;
    r = loop_open();
    if (r < 0)
        return error_sys(err, r, "epoll_create1");
    r = watch_signals(err);
    if (r >= 0)
        r = forker_start(err);
    if (r < 0)
        return r;
    r = conn_listen(BOOT_FD_LISTEN);
    return r < 0 ? error_sys(err, r, "serving the socket") : 0;
}

static void report(const struct error *err)
{
    cleanup_json json_t *status = err->err ? json_pack("{s:o}", "error", error_to_json(err))
                                           : json_pack("{s:b, s:i}", "ready", 1, "landlock",
                                                       boot.landlock ? landlock_abi() : 0);
    cleanup_free char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;

    if (text) {
        fd_write_all(BOOT_FD_STATUS, text, strlen(text));
        fd_write_all(BOOT_FD_STATUS, "\n", 1);
    }
    close(BOOT_FD_STATUS);
}

int main(void)
{
    struct error err = ERROR_NONE;
    int r;

    prctl(PR_SET_DUMPABLE, 0); /* /proc/1 is nobody's in here; execve had made us dumpable again */
    fd_set_cloexec(BOOT_FD_STATUS, true);
    counters_open();
    r = boot_up(&err);
    if (r >= 0) {
        oom_init();
        service_init();
    }
    report(&err);
    return r < 0 || loop_run() < 0 ? 1 : 0;
}
