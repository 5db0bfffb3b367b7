/* Theory of operation: see store.h. */
#include "api/store/store.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

static const struct store_driver *const drivers[] = {&store_sqlite};

static const struct store_driver *find_driver(const char *url, const char **ret_rest)
{
    for (size_t i = 0; i < ELEMENTS(drivers); i++) {
        size_t length = strlen(drivers[i]->scheme);
        if (strncmp(url, drivers[i]->scheme, length) != 0 || url[length] != ':')
            continue;
        *ret_rest = url + length + 1;
        return drivers[i];
    }
    return NULL;
}

int store_open(const char *url, struct store **ret_store, struct error *err)
{
    const char *rest;
    const struct store_driver *driver = find_driver(url, &rest);

    if (!driver) /* the URL may hold a password: only its scheme is named */
        return error_set_field(err, "database.url", "no driver for `%.*s:`",
                               (int)strcspn(url, ":/"), url);
    cleanup_free struct store *store = calloc(1, sizeof(*store));
    if (!store)
        return error_oom(err);
    store->driver = driver;
    int r = driver->open(store, rest, err);
    if (r < 0)
        return r;
    *ret_store = TAKE_PTR(store);
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    store->driver->close(store);
    free(store);
}

int store_check(struct store *store, struct error *err)
{
    return store->driver->check(store, err);
}

int store_key_add(struct store *store, const struct store_key *key, struct error *err)
{
    return store->driver->key_add(store, key, err);
}

int store_key_find(struct store *store, const char *hash, struct store_key *ret_key,
                   struct error *err)
{
    return store->driver->key_find(store, hash, ret_key, err);
}

int store_key_touch(struct store *store, const char *id, int64_t now_ms)
{
    return store->driver->key_touch(store, id, now_ms);
}

int store_key_revoke(struct store *store, const char *id, int64_t now_ms, struct error *err)
{
    return store->driver->key_revoke(store, id, now_ms, err);
}

int store_key_list(struct store *store, int (*each)(void *userdata, const struct store_key *key),
                   void *userdata, struct error *err)
{
    return store->driver->key_list(store, each, userdata, err);
}

int store_answer_begin(struct store *store, const char *owner, const char *key,
                       const char *request_hash, int64_t now_ms, struct store_answer *ret_answer,
                       struct error *err)
{
    return store->driver->answer_begin(store, owner, key, request_hash, now_ms, ret_answer, err);
}

int store_answer_finish(struct store *store, const char *owner, const char *key,
                        unsigned int status, const char *body, struct error *err)
{
    return store->driver->answer_finish(store, owner, key, status, body, err);
}
