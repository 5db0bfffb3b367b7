/* Theory of operation: see access-log.h. The writer has a spare buffer; it swaps it for the one of
 * each feed that has lines, under the feed's lock, which is held for no longer than that, and
 * writes without any lock. */
#include "proxy/access-log.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TAKE_BYTES  65536u /* in a buffer, that are written at once */
#define TAKE_MS     1000   /* that a line waits at most */
#define REMIND_MS   10000
#define COMPLAIN_MS 60000

struct log_feed {
    struct access_log *log;
    pthread_mutex_t lock;
    char *data;
    size_t length;
};

struct access_log {
    struct log_feed *feeds;
    unsigned int n_feeds;
    char *spare;
    uint64_t size_max;
    int wake;
    struct figures *figures; /* NULL: losses are not counted */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* the next three, and the condition */
    pthread_cond_t changed;
    bool hasty, ending;
    atomic_int next_fd; /* -1: none */
    atomic_bool grown;
    /* the writer's own */
    int fd;
    bool torn; /* the file's last line has no end */
    int64_t reminded_at, complained_at;
};

static void lose(const struct access_log *log, uint64_t lines)
{
    if (log->figures && lines > 0)
        figures_add(&log->figures->log_lost, lines);
}

/* ---- the threads that serve
 * --------------------------------------------------------------------------------- */

static void hurry(struct access_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->hasty = true;
    pthread_cond_signal(&log->changed);
    pthread_mutex_unlock(&log->lock);
}

void log_feed_lose(struct log_feed *feed)
{
    lose(feed->log, 1);
}

void log_feed_add(struct log_feed *feed, const char *line, size_t length)
{
    pthread_mutex_lock(&feed->lock);
    size_t before = feed->length;
    bool fits = length <= LOG_FEED_MAX - before;
    if (fits) {
        memcpy(feed->data + before, line, length);
        feed->length += length;
    }
    pthread_mutex_unlock(&feed->lock);
    if (!fits)
        log_feed_lose(feed);
    else if (before < TAKE_BYTES && before + length >= TAKE_BYTES)
        hurry(feed->log);
}

struct log_feed *access_log_feed(struct access_log *log, unsigned int i)
{
    return &log->feeds[i];
}

/* ---- the control thread
 * ------------------------------------------------------------------------------------- */

bool access_log_grown(struct access_log *log)
{
    return log && atomic_exchange(&log->grown, false);
}

void access_log_switch(struct access_log *log, int fd)
{
    int unused = atomic_exchange(&log->next_fd, fd);

    if (unused >= 0)
        close(unused);
}

/* ---- the writer
 * --------------------------------------------------------------------------------------------- */

static void take_next_fd(struct access_log *log)
{
    int fd = atomic_exchange(&log->next_fd, -1);

    if (fd < 0)
        return;
    close(log->fd);
    log->fd = fd;
    log->torn = false;
    log->reminded_at = 0;
}

static uint64_t count_lines(const char *data, size_t length)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < length; i++)
        lines += data[i] == '\n';
    return lines;
}

/* As much as goes; 0 or a negative errno. */
static int write_most(int fd, const char *data, size_t length, size_t *ret_written)
{
    *ret_written = 0;
    while (*ret_written < length) {
        ssize_t n = write(fd, data + *ret_written, length - *ret_written);
        if (n < 0 && errno != EINTR)
            return -errno;
        *ret_written += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static void complain(struct access_log *log, int problem)
{
    int64_t now = now_monotonic_ms();

    if (log->complained_at > 0 && now - log->complained_at < COMPLAIN_MS)
        return;
    log->complained_at = now;
    log_warning("writing the access log: %s; lines are lost", strerror(-problem));
}

static void write_lines(struct access_log *log, const char *data, size_t length)
{
    size_t written = 0;
    int r = log->torn ? write_most(log->fd, "\n", 1, &written) : 0;

    if (r == 0) {
        log->torn = false;
        r = write_most(log->fd, data, length, &written);
        log->torn = written > 0 && data[written - 1] != '\n';
    } else {
        written = 0;
    }
    if (r == 0)
        return;
    lose(log, count_lines(data + written, length - written));
    complain(log, r);
}

static void check_size(struct access_log *log)
{
    int64_t now = now_monotonic_ms();
    struct stat status;

    if (fstat(log->fd, &status) < 0 || (uint64_t)status.st_size < log->size_max ||
        (log->reminded_at > 0 && now - log->reminded_at < REMIND_MS))
        return;
    log->reminded_at = now;
    atomic_store(&log->grown, true);
    eventfd_write(log->wake, 1);
}

static void collect(struct access_log *log, struct log_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    size_t length = feed->length;
    char *data = feed->data;
    if (length > 0) {
        feed->data = log->spare;
        feed->length = 0;
    }
    pthread_mutex_unlock(&feed->lock);
    if (length == 0)
        return;
    log->spare = data;
    write_lines(log, data, length);
    check_size(log);
}

/* False: this is the last turn. */
static bool wait_turn(struct access_log *log)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TAKE_MS / 1000;
    pthread_mutex_lock(&log->lock);
    while (r != ETIMEDOUT && !log->hasty && !log->ending)
        r = pthread_cond_timedwait(&log->changed, &log->lock, &until);
    log->hasty = false;
    bool ending = log->ending;
    pthread_mutex_unlock(&log->lock);
    return !ending;
}

static void *run(void *userdata)
{
    struct access_log *log = userdata;

    for (bool more = true; more;) {
        more = wait_turn(log);
        take_next_fd(log);
        for (unsigned int i = 0; i < log->n_feeds; i++)
            collect(log, &log->feeds[i]);
    }
    return NULL;
}

/* ---- life
 * ---------------------------------------------------------------------------------------------------
 */

static int make_feeds(struct access_log *log, unsigned int n_feeds)
{
    log->feeds = calloc(n_feeds, sizeof(*log->feeds));
    for (unsigned int i = 0; log->feeds && i < n_feeds; i++) {
        struct log_feed *feed = &log->feeds[i];
        feed->log = log;
        feed->data = malloc(LOG_FEED_MAX);
        if (!feed->data || pthread_mutex_init(&feed->lock, NULL) != 0) {
            free(feed->data);
            return -ENOMEM;
        }
        log->n_feeds++;
    }
    return log->feeds ? 0 : -ENOMEM;
}

/* The writer waits by the monotonic clock: the other one may be set. */
static int make_condition(struct access_log *log)
{
    pthread_condattr_t attributes;

    int r = pthread_mutex_init(&log->lock, NULL);
    if (r == 0)
        r = pthread_condattr_init(&attributes);
    if (r != 0)
        return -r;
    r = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (r == 0)
        r = pthread_cond_init(&log->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return -r;
}

int access_log_new(int fd, unsigned int n_feeds, uint64_t size_max, int wake,
                   struct figures *figures, struct access_log **ret_log, struct error *err)
{
    struct access_log *log = calloc(1, sizeof(*log));

    if (!log) {
        close(fd);
        return error_oom(err);
    }
    log->fd = fd;
    log->size_max = size_max;
    log->wake = wake;
    log->figures = figures;
    atomic_init(&log->next_fd, -1);
    log->spare = malloc(LOG_FEED_MAX);
    int r = log->spare ? make_condition(log) : -ENOMEM;
    r = r < 0 ? r : make_feeds(log, n_feeds);
    if (r < 0) {
        access_log_free(log);
        return error_sys(err, r, "setting up the access log");
    }
    *ret_log = log;
    return 0;
}

int access_log_start(struct access_log *log, struct error *err)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&log->thread, NULL, run, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    log->started = r == 0;
    return r != 0 ? error_sys(err, r, "starting the writer of the access log") : 0;
}

static void stop(struct access_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->ending = true;
    pthread_cond_signal(&log->changed);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
}

void access_log_free(struct access_log *log)
{
    if (!log)
        return;
    if (log->started)
        stop(log);
    for (unsigned int i = 0; i < log->n_feeds; i++) {
        pthread_mutex_destroy(&log->feeds[i].lock);
        free(log->feeds[i].data);
    }
    access_log_switch(log, -1);
    close(log->fd);
    free(log->feeds);
    free(log->spare);
    free(log);
}
