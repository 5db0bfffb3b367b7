/* Theory of operation. Landlock holds the thread that asks for it and what that thread starts, and
 * each asking makes a new domain. Processes may look into and signal those of their own domain and
 * of domains within it only. Were each child to ask for itself, no command could see the dev
 * server's descriptors (lsof, fuser, ss -p). So one thread asks once, forks for all the user's
 * processes, and does nothing else; whoever wants a fork waits for it, so that never two of the
 * init's threads run at once. A rule is bound to the folder that was there when it was made. */
#include "init/forker.h"

#include "init/boot.h"

#include "base/landlock.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#define STACK_BYTES 262144 /* the child's as well, until it executes */

static struct {
    bool running;
    sem_t wanted, done;
    void (*run)(void *context);
    void *context;
    pid_t result;
    struct error err; /* of its confinement */
} forker;

static pid_t fork_here(void (*run)(void *context), void *context)
{
    pid_t pid = fork();

    if (pid == 0) {
        run(context);
        _exit(127);
    }
    return pid < 0 ? -errno : pid;
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0 && errno == EINTR)
        ;
}

static void *serve(void *unused)
{
    const struct landlock_section section = {.rules = json_object_get(boot.landlock, "user")};

    (void)unused;
    forker.result = landlock_restrict(&section, &forker.err);
    sem_post(&forker.done);
    for (;;) {
        wait_for(&forker.wanted);
        forker.result = fork_here(forker.run, forker.context);
        sem_post(&forker.done);
    }
    return NULL;
}

int forker_confine(struct error *err)
{
    const struct landlock_section section = {
        .rules = json_object_get(boot.landlock, "sandbox"),
        .scopes = json_object_get(boot.landlock, "scopes"),
        .tcp = json_object_get(boot.landlock, "tcp"),
    };

    return landlock_restrict(&section, err);
}

int forker_start(struct error *err)
{
    pthread_attr_t attributes;
    pthread_t thread;

    if (!json_object_get(boot.landlock, "user") || landlock_abi() == 0)
        return 0;
    sem_init(&forker.wanted, 0, 0);
    sem_init(&forker.done, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int failure = pthread_create(&thread, &attributes, serve, NULL);
    pthread_attr_destroy(&attributes);
    if (failure)
        return error_sys(err, failure, "starting the thread that forks");
    wait_for(&forker.done);
    forker.running = forker.result == 0;
    if (err && !forker.running)
        *err = forker.err;
    return forker.result;
}

pid_t forker_fork(bool as_root, void (*run)(void *context), void *context)
{
    if (as_root || !forker.running)
        return fork_here(run, context);
    forker.run = run;
    forker.context = context;
    sem_post(&forker.wanted);
    wait_for(&forker.done);
    return forker.result;
}
