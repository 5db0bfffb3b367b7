/* Built-in accounts in the database. */
#pragma once

#include "api/db/db.h"

#include <crypt.h>

#define ACCOUNT_NAME_MAX 254u /* bytes: an address of mail (RFC 5321, 4.5.3.1.3) */

struct store_account {
    char id[DB_USER_SIZE];
    char name[ACCOUNT_NAME_MAX + 1];
    char hash[CRYPT_OUTPUT_SIZE];
    int64_t epoch;
    bool disabled;
    int64_t created_at, changed_at; /* ms since the epoch */
};

/* The name in the form in which it is unique. -EINVAL: a name that no account may have, see
 * store/accounts.c. */
int account_handle(const char *name, char ret_handle[ACCOUNT_NAME_MAX + 1], struct error *err);

/* Each runs one transaction. Results: 0 the account, or no row. */
void accounts_add(struct db *db, const struct store_account *account, db_done_fn done,
                  void *userdata); /* "duplicate": the name is taken */
void accounts_find(struct db *db, const char *id, db_done_fn done, void *userdata);
void accounts_find_handle(struct db *db, const char *handle, db_done_fn done, void *userdata);
/* `hash` NULL, `disabled` -1: stays as it is. Raises the epoch. */
void accounts_change(struct db *db, const char *id, const char *hash, int disabled, int64_t now_ms,
                     db_done_fn done, void *userdata);
void accounts_remove(struct db *db, const char *id, db_done_fn done, void *userdata);
/* All of them, by name. */
void accounts_list(struct db *db, db_done_fn done, void *userdata);

void account_from_row(const struct db_result *result, size_t row,
                      struct store_account *ret_account);
