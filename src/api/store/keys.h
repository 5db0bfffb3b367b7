/* API keys in the database. */
#pragma once

#include "api/api.h"
#include "api/db/db.h"
#include "api/key.h"

#define STORE_NAME_MAX 64

struct store_key {
    char id[KEY_ID_SIZE];
    char name[STORE_NAME_MAX + 1];
    char hash[KEY_HASH_SIZE];
    char owner[OWNER_MAX + 1];
    unsigned int scopes;              /* enum scope */
    int64_t created_at, last_used_at; /* ms since the epoch; 0: never */
};

/* Each runs one transaction; `done` gets its results (db.h). */
void keys_add(struct db *db, const struct store_key *key, db_done_fn done, void *userdata);
/* One row, or none: unknown or revoked. */
void keys_find(struct db *db, const char *hash, db_done_fn done, void *userdata);
void keys_touch(struct db *db, const char *id, int64_t now_ms);
/* A row if there was such a key. */
void keys_revoke(struct db *db, const char *id, int64_t now_ms, db_done_fn done, void *userdata);
/* Those in use, oldest first. */
void keys_list(struct db *db, db_done_fn done, void *userdata);

/* A row of keys_find and keys_list. */
void key_from_row(const struct db_result *result, size_t row, struct store_key *ret_key);
