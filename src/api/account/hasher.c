/* Theory of operation: see hasher.h. Jobs wait in a list; a thread takes the first, hashes, puts it
 * into the list of finished ones and writes to an eventfd, on which the loop calls back. All that
 * both sides touch is behind one lock, which nobody holds while hashing. */
#include "api/account/hasher.h"

#include "base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct job {
    struct job *next;
    char digest[PASSWORD_DIGEST_SIZE];
    char setting[CRYPT_OUTPUT_SIZE];
    char hash[CRYPT_OUTPUT_SIZE];
    struct crypt_data scratch;
    int result;
    hashed_fn done;
    void *userdata;
};

struct hasher {
    sd_event_source *source;
    int finished_fd;
    pthread_t threads[HASHER_THREADS];
    size_t n_threads;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct job *waiting, **last, *finished;
    size_t n_waiting;
    bool ending;
};

static void job_free(struct job *job)
{
    explicit_bzero(job, sizeof(*job));
    free(job);
}

/* NULL: the end. */
static struct job *take_job(struct hasher *hasher)
{
    struct job *job = NULL;

    pthread_mutex_lock(&hasher->lock);
    while (!hasher->waiting && !hasher->ending)
        pthread_cond_wait(&hasher->changed, &hasher->lock);
    if (!hasher->ending) {
        job = hasher->waiting;
        hasher->waiting = job->next;
        if (!hasher->waiting)
            hasher->last = &hasher->waiting;
        hasher->n_waiting--;
    }
    pthread_mutex_unlock(&hasher->lock);
    return job;
}

static void *work(void *userdata)
{
    struct hasher *hasher = userdata;
    struct job *job;

    while ((job = take_job(hasher))) {
        job->result = password_hash(job->digest, job->setting, &job->scratch, job->hash);
        pthread_mutex_lock(&hasher->lock);
        job->next = hasher->finished;
        hasher->finished = job;
        pthread_mutex_unlock(&hasher->lock);
        eventfd_write(hasher->finished_fd, 1);
    }
    return NULL;
}

static void tell(struct job *job)
{
    struct error err = ERROR_NONE;

    if (job->result < 0)
        error_sys(&err, job->result, "hashing a password");
    job->done(job->userdata, job->result < 0 ? NULL : job->hash, &err);
    job_free(job);
}

static struct job *take_finished(struct hasher *hasher)
{
    pthread_mutex_lock(&hasher->lock);
    struct job *job = TAKE_PTR(hasher->finished);
    pthread_mutex_unlock(&hasher->lock);
    return job;
}

static int on_finished(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    eventfd_t count;

    (void)source;
    (void)events;
    eventfd_read(fd, &count);
    for (struct job *job = take_finished(userdata), *next; job; job = next) {
        next = job->next;
        tell(job);
    }
    return 0;
}

/* Signals are the loop's. */
static int start_threads(struct hasher *hasher, struct error *err)
{
    sigset_t all, before;
    int r = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (r == 0 && hasher->n_threads < HASHER_THREADS) {
        r = pthread_create(&hasher->threads[hasher->n_threads], NULL, work, hasher);
        hasher->n_threads += r == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0 ? 0 : error_sys(err, r, "starting a thread");
}

int hasher_new(sd_event *event, struct hasher **ret_hasher, struct error *err)
{
    struct hasher *hasher = calloc(1, sizeof(*hasher));

    if (!hasher)
        return error_oom(err);
    hasher->last = &hasher->waiting;
    pthread_mutex_init(&hasher->lock, NULL);
    pthread_cond_init(&hasher->changed, NULL);
    hasher->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = hasher->finished_fd < 0 ? -errno
                                    : sd_event_add_io(event, &hasher->source, hasher->finished_fd,
                                                      EPOLLIN, on_finished, hasher);
    r = r < 0 ? error_sys(err, r, "setting up the hashing of passwords")
              : start_threads(hasher, err);
    if (r < 0) {
        hasher_free(hasher);
        return r;
    }
    *ret_hasher = hasher;
    return 0;
}

static void refuse_all(struct job *job)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, EAGAIN, "stopping", "the program is stopping");
    for (struct job *next; job; job = next) {
        next = job->next;
        job->done(job->userdata, NULL, &err);
        job_free(job);
    }
}

void hasher_free(struct hasher *hasher)
{
    if (!hasher)
        return;
    pthread_mutex_lock(&hasher->lock);
    hasher->ending = true;
    pthread_cond_broadcast(&hasher->changed);
    pthread_mutex_unlock(&hasher->lock);
    for (size_t i = 0; i < hasher->n_threads; i++)
        pthread_join(hasher->threads[i], NULL);
    refuse_all(hasher->waiting);
    refuse_all(hasher->finished);
    sd_event_source_disable_unref(hasher->source);
    close_and_forget(&hasher->finished_fd);
    pthread_cond_destroy(&hasher->changed);
    pthread_mutex_destroy(&hasher->lock);
    free(hasher);
}

int hasher_submit(struct hasher *hasher, const char *digest, const char *setting, hashed_fn done,
                  void *userdata, struct error *err)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return error_oom(err);
    snprintf(job->digest, sizeof(job->digest), "%s", digest);
    snprintf(job->setting, sizeof(job->setting), "%s", setting);
    job->done = done;
    job->userdata = userdata;
    pthread_mutex_lock(&hasher->lock);
    bool full = hasher->n_waiting >= HASHER_WAITING;
    if (!full) {
        *hasher->last = job;
        hasher->last = &job->next;
        hasher->n_waiting++;
        pthread_cond_signal(&hasher->changed);
    }
    pthread_mutex_unlock(&hasher->lock);
    if (!full)
        return 0;
    job_free(job);
    return error_set_code(err, EAGAIN, "busy", "too many passwords are being checked: try again");
}
