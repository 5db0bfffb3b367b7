/* Theory of operation: see report.h. */
#include "tls/report.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/passed-fds.h"

#define LINE_SIZE 1024u

struct certificates *certificate_store_get(struct certificate_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct certificates *set = store->current ? certificates_ref(store->current) : NULL;
    pthread_mutex_unlock(&store->lock);
    return set;
}

static void set_current(struct certificate_store *store, struct certificates *set)
{
    pthread_mutex_lock(&store->lock);
    struct certificates *old = store->current;
    store->current = set;
    pthread_mutex_unlock(&store->lock);
    certificates_unref(old);
}

int certificate_store_update(struct certificate_store *store, int fd, struct error *err)
{
    cleanup_close int owned = fd;
    struct certificates *set;
    char line[LINE_SIZE];
    int r = certificates_read(owned, !store->current, &set, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < certificates_count(set); i++) {
        if (certificates_describe(set, i, line, sizeof(line)))
            log_warning("certificate %s", line);
        else
            log_info("certificate %s", line);
    }
    set_current(store, set);
    return 0;
}

void certificate_store_free(struct certificate_store *store)
{
    set_current(store, NULL);
}

void certificates_check(FILE *out)
{
    struct error err = ERROR_NONE;
    struct certificates *set = NULL;
    char line[LINE_SIZE];
    cleanup_close int fd = passed_fd_take("certificates");

    if (fd < 0 || certificates_read(fd, true, &set, &err) < 0) {
        fprintf(out, "MISSING\t%s\n", fd < 0 ? "the descriptor was not passed" : err.message);
        return;
    }
    for (size_t i = 0; i < certificates_count(set); i++) {
        bool wrong = certificates_describe(set, i, line, sizeof(line));
        fprintf(out, "%s\t%s\n", wrong ? "warn" : "ok", line);
    }
    certificates_unref(set);
}
