/* What the API keeps of its own: API keys and the answers to idempotent requests. A driver is a
 * table of functions chosen by the database URL; nothing outside a driver knows SQL. Calls are
 * synchronous and short. */
#pragma once

#include "api/api.h"
#include "api/key.h"
#include "base/error.h"

#define STORE_NAME_MAX 64

struct store_key {
    char id[KEY_ID_SIZE];
    char name[STORE_NAME_MAX + 1];
    char hash[KEY_HASH_SIZE];
    char owner[OWNER_MAX + 1];
    unsigned int scopes;              /* enum scope */
    int64_t created_at, last_used_at; /* ms since the epoch; 0: never */
};

/* The answer to an earlier request with the same Idempotency-Key. */
struct store_answer {
    char request_hash[KEY_HASH_SIZE];
    unsigned int status; /* 0: that request is still being worked on */
    char *body;          /* the caller frees it */
};

struct store_driver {
    const char *scheme;
    int (*open)(struct store *store, const char *rest, struct error *err);
    void (*close)(struct store *store);
    int (*check)(struct store *store, struct error *err);
    int (*key_add)(struct store *store, const struct store_key *key, struct error *err);
    int (*key_find)(struct store *store, const char *hash, struct store_key *ret_key,
                    struct error *err);
    int (*key_touch)(struct store *store, const char *id, int64_t now_ms);
    int (*key_revoke)(struct store *store, const char *id, int64_t now_ms, struct error *err);
    int (*key_list)(struct store *store, int (*each)(void *userdata, const struct store_key *key),
                    void *userdata, struct error *err);
    int (*answer_begin)(struct store *store, const char *owner, const char *key,
                        const char *request_hash, int64_t now_ms, struct store_answer *ret_answer,
                        struct error *err);
    int (*answer_finish)(struct store *store, const char *owner, const char *key,
                         unsigned int status, const char *body, struct error *err);
};

struct store {
    const struct store_driver *driver;
    void *data;
};

/* "sqlite:/path". -EINVAL for a scheme without a driver, -EOPNOTSUPP for a database that a newer
 * version has written. */
int store_open(const char *url, struct store **ret_store, struct error *err);
void store_close(struct store *store);

/* 0 when the database answers. */
int store_check(struct store *store, struct error *err);

int store_key_add(struct store *store, const struct store_key *key, struct error *err);
/* -ENOENT: there is none, or it was revoked. */
int store_key_find(struct store *store, const char *hash, struct store_key *ret_key,
                   struct error *err);
int store_key_touch(struct store *store, const char *id, int64_t now_ms);
/* -ENOENT. */
int store_key_revoke(struct store *store, const char *id, int64_t now_ms, struct error *err);
/* The keys in use, oldest first; stops when `each` returns a negative errno. */
int store_key_list(struct store *store, int (*each)(void *userdata, const struct store_key *key),
                   void *userdata, struct error *err);

/* Claims an idempotency key for a day. 0: it is new, and answer_finish must follow. -EEXIST: it is
 * known, see *ret_answer. */
int store_answer_begin(struct store *store, const char *owner, const char *key,
                       const char *request_hash, int64_t now_ms, struct store_answer *ret_answer,
                       struct error *err);
/* Keeps the answer, or, with status 0, gives the key free again. */
int store_answer_finish(struct store *store, const char *owner, const char *key,
                        unsigned int status, const char *body, struct error *err);

extern const struct store_driver store_sqlite;
