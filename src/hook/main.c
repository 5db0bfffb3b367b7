/* auracode-hook: sends webhooks for auracode-api, which may reach no network itself.
 *
 * Theory of operation: the supervisor gives each of the two an end of one channel (job.h). A few
 * threads take packets from it, each does one request at a time, with all of libcurl's waiting, and
 * sends back what came of it. Nothing is kept: what is lost with this program the API asks for
 * again. The main thread greets the supervisor, waits for its successor when it is gone, and for
 * the end: a signal, or a channel whose other end is gone, since then there is another one. */
#include "hook/hook.h"
#include "hook/job.h"

#include "base/cleanup.h"
#include "base/config.h"
#include "base/event-glue.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/protocol.h"
#include "base/rpc.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#define THREADS  8u
#define RETRY_US ((uint64_t)50 * 1000)
#define GONE_MS  60000 /* then the supervisor does not come back */
#define END_S    2     /* for threads that look up a name */

static struct {
    struct config config;
    sd_event *event;
    struct rpc supervisor;
    sd_event_source *source, *retry;
    int64_t gone_since;
    int channel;
    int stop_fd, ended_fd; /* eventfds: threads shall end; the channel has */
    atomic_bool stopping;
    pthread_t threads[THREADS];
    unsigned int n_threads;
} hook = {.channel = -1, .stop_fd = -1, .ended_fd = -1, .supervisor.ipc.fd = -1};

/* ---- threads --------------------------------------------------------------------------------- */

static void reply(json_t *answer)
{
    cleanup_json json_t *stolen = answer;
    cleanup_free char *text = stolen ? json_dumps(stolen, JSON_COMPACT) : NULL;

    if (text)
        (void)!send(hook.channel, text, strlen(text), MSG_NOSIGNAL);
}

static void work_on(CURL *curl, const char *packet, size_t length)
{
    const struct job_rules rules = {str_equal(hook.config.webhooks_allow_private, "yes"),
                                    &hook.stopping};
    cleanup_json json_t *job = json_loadb(packet, length, JSON_REJECT_DUPLICATES, NULL);

    if (job)
        reply(job_do(curl, job, &rules));
}

/* 0: another thread took it; -ECONNRESET: the other end is gone. */
static ssize_t take_packet(char *packet)
{
    ssize_t length = recv(hook.channel, packet, JOB_PACKET_MAX, MSG_DONTWAIT);

    if (length < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return length == 0 ? -ECONNRESET : length;
}

static void *work(void *unused)
{
    struct pollfd fds[] = {{.fd = hook.channel, .events = POLLIN},
                           {.fd = hook.stop_fd, .events = POLLIN}};
    cleanup_free char *packet = malloc(JOB_PACKET_MAX);
    CURL *curl = curl_easy_init();
    ssize_t r = packet && curl ? 0 : -ENOMEM;

    (void)unused;
    while (r >= 0) {
        if (poll(fds, ELEMENTS(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            break;
        r = take_packet(packet);
        if (r > 0)
            work_on(curl, packet, (size_t)r);
    }
    if (r < 0)
        eventfd_write(hook.ended_fd, 1);
    curl_easy_cleanup(curl);
    return NULL;
}

static int start_threads(struct error *err)
{
    for (; hook.n_threads < THREADS; hook.n_threads++) {
        int r = pthread_create(&hook.threads[hook.n_threads], NULL, work, NULL);
        if (r != 0)
            return error_sys(err, r, "pthread_create");
    }
    return 0;
}

/* One may still wait for a name server: it is not waited for. */
static void end_threads(void)
{
    struct timespec until;

    atomic_store(&hook.stopping, true);
    eventfd_write(hook.stop_fd, 1);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_S;
    for (unsigned int i = 0; i < hook.n_threads; i++)
        if (pthread_timedjoin_np(hook.threads[i], NULL, &until) != 0)
            _exit(0);
}

/* ---- the supervisor ---------------------------------------------------------------------------
 */

static void on_hello(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (result) {
        hook.gone_since = 0;
        hook.retry = sd_event_source_disable_unref(hook.retry);
    } else if (err->err != ECONNRESET) {
        log_warning("the supervisor refused us: %s", err->message);
    }
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);

static void wait_for_supervisor(void)
{
    if (!hook.gone_since)
        hook.gone_since = now_monotonic_ms();
    hook.retry = sd_event_source_disable_unref(hook.retry);
    sd_event_add_time_relative(hook.event, &hook.retry, CLOCK_MONOTONIC, RETRY_US, 0, on_retry,
                               NULL);
}

static int on_supervisor(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    (void)source;
    (void)fd;
    (void)revents;
    (void)userdata;
    if (rpc_dispatch(&hook.supervisor) >= 0)
        return 0;
    hook.source = sd_event_source_disable_unref(hook.source);
    wait_for_supervisor();
    rpc_close(&hook.supervisor);
    return 0;
}

static int greet(int fd, struct error *err)
{
    rpc_init(&hook.supervisor, fd, NULL, NULL);
    int r = event_add_ipc(hook.event, &hook.supervisor.ipc, on_supervisor, NULL, &hook.source);
    if (r < 0)
        return error_sys(err, r, "watching the supervisor");
    return rpc_call(&hook.supervisor, "hello",
                    json_pack("{s:i, s:i}", "protocol", PROTOCOL_VERSION, "pid", (int)getpid()),
                    NULL, 0, on_hello, NULL, NULL, err);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    (void)userdata;
    if (now_monotonic_ms() - hook.gone_since > GONE_MS) {
        log_error("the supervisor has not come back");
        return sd_event_exit(hook.event, 1);
    }
    int fd = ipc_connect(AT_FDCWD, "supervisor.sock", NULL); /* base/confine.h */
    if (fd < 0) {
        wait_for_supervisor();
    } else if (greet(fd, NULL) < 0) {
        hook.source = sd_event_source_disable_unref(hook.source);
        rpc_close(&hook.supervisor);
        wait_for_supervisor();
    }
    return 0;
}

/* ---- start ------------------------------------------------------------------------------------
 */

static int on_ended(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    (void)fd;
    (void)revents;
    (void)userdata;
    return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int read_config(struct error *err)
{
    cleanup_close int fd = passed_fd_take("config");
    int r = config_init(&hook.config, err);

    if (r == 0)
        r = fd < 0 ? error_sys(err, fd, "taking the descriptor `config`")
                   : config_import(&hook.config, fd, err);
    if (r == 0)
        log_set_level_name(hook.config.log_level);
    return r;
}

static int open_loop(struct error *err)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    hook.stop_fd = eventfd(0, EFD_CLOEXEC);
    hook.ended_fd = eventfd(0, EFD_CLOEXEC);
    int r = hook.stop_fd < 0 || hook.ended_fd < 0 ? -errno : sd_event_default(&hook.event);
    if (r >= 0) /* without a handler: the loop ends */
        r = sd_event_add_signal(hook.event, NULL, SIGTERM, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(hook.event, NULL, SIGINT, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_io(hook.event, NULL, hook.ended_fd, POLLIN, on_ended, NULL);
    return r < 0 ? error_sys(err, r, "event loop") : 0;
}

static int start(struct error *err)
{
    int r = read_config(err);

    if (r == 0)
        r = open_loop(err);
    if (r == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        r = error_set(err, EIO, "libcurl did not start");
    if (r == 0) {
        hook.channel = passed_fd_take("webhooks");
        int control = passed_fd_take("control");
        r = hook.channel < 0 || control < 0
                ? error_set(err, ENOENT, "the descriptors `webhooks` and `control` are missing")
                : greet(control, err);
    }
    if (r == 0)
        r = hook_confine(err);
    return r == 0 ? start_threads(err) : r;
}

int main(void)
{
    struct error err = ERROR_NONE;

    log_open("auracode-hook", LOG_NOTICE);
    signal(SIGPIPE, SIG_IGN);
    int r = start(&err);
    if (r == 0)
        r = sd_event_loop(hook.event);
    if (err.err)
        log_error("%s", err.message);
    end_threads();
    sd_event_source_disable_unref(hook.source);
    sd_event_source_disable_unref(hook.retry);
    if (hook.supervisor.ipc.fd >= 0)
        rpc_close(&hook.supervisor);
    sd_event_unref(hook.event);
    config_free(&hook.config);
    return r < 0 ? 1 : 0;
}
