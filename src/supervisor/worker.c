/* Theory of operation: see worker.h. The result comes back as one struct error through a pipe. */
#include "supervisor/worker.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct worker {
    struct supervisor *supervisor;
    int result_fd;
    void (*done)(void *userdata, const struct error *err);
    void *userdata;
};

static int on_worker_exit(sd_event_source *source, const siginfo_t *info, void *userdata)
{
    struct worker *worker = userdata;
    struct supervisor *supervisor = worker->supervisor;
    struct error err = ERROR_NONE;

    if (read(worker->result_fd, &err, sizeof(err)) != (ssize_t)sizeof(err))
        error_set(&err, EIO, "a worker ended with status %d", info->si_status);
    if (worker->done)
        worker->done(worker->userdata, &err);
    close(worker->result_fd);
    free(worker);
    sd_event_source_disable_unref(source);
    supervisor->workers--;
    supervisor_check_stopped(supervisor);
    return 0;
}

static _Noreturn void run_job(int (*job)(void *, struct error *), void *userdata, int result_fd)
{
    struct error err = ERROR_NONE;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_NAME, "auracode-worker");
    if (job(userdata, &err) >= 0)
        err = ERROR_NONE;
    _exit(fd_write_all(result_fd, &err, sizeof(err)) < 0);
}

int worker_start(struct supervisor *supervisor, int (*job)(void *userdata, struct error *err),
                 void (*done)(void *userdata, const struct error *err), void *userdata,
                 struct error *err)
{
    int fds[2];
    sd_event_source *source;
    struct worker *worker = calloc(1, sizeof(*worker));

    if (!worker)
        return error_oom(err);
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(worker);
        return error_sys(err, errno, "pipe2");
    }
    *worker = (struct worker){supervisor, fds[0], done, userdata};
    pid_t pid = fork();
    if (pid == 0)
        run_job(job, userdata, fds[1]);
    close(fds[1]);
    int r = pid < 0 ? -errno
                    : sd_event_add_child(supervisor->event, &source, pid, WEXITED, on_worker_exit,
                                         worker);
    if (r < 0) {
        close(fds[0]);
        free(worker);
        return error_sys(err, r, "starting a worker");
    }
    supervisor->workers++;
    return 0;
}
