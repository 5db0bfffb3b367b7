/* Built-in accounts: who may log in, and which of their tokens are still good.
 *
 * A token carries its account's epoch. Each change of a password, each disabling raises it, and
 * tokens with another epoch are refused: at once where the change came through this program, within
 * ACCOUNT_KNOWN_MS where another one on the same database made it. */
#pragma once

#include "api/account/hasher.h"
#include "api/api.h"
#include "base/error.h"

struct accounts;

#define ACCOUNT_KNOWN_MS 10000 /* for so long the database is not asked again */

/* The key of the tokens, from the descriptor "login-key" to api->jwt. */
int accounts_take_key(struct api *api, struct error *err);

/* Sets api->accounts. To be called when the program is confined (hasher.h). */
int accounts_new(struct api *api, struct error *err);
/* Whoever waits for a password's hash is told that the program stops. NULL is fine. */
void accounts_free(struct accounts *accounts);

/* Calls `done`, at once or when the database has answered: whether the account is there, not
 * disabled, and has this epoch. `err` is not NULL when that is not known. */
typedef void (*account_checked_fn)(void *userdata, bool good, const struct error *err);
void account_check(struct accounts *accounts, const char *id, int64_t epoch,
                   account_checked_fn done, void *userdata);

/* To be called before an account is changed and after it: what is known of it is forgotten, and
 * with `ended` what its tokens and connections do is ended. */
void account_changed(struct accounts *accounts, const char *id, bool ended);

/* Whether one more attempt to log in is allowed: by client (NULL: a trusted one) and name. When
 * not, code "rate_limited", and *ret_wait_s says when to come back. */
int account_may_try(struct accounts *accounts, const uint64_t *client, const char *handle,
                    unsigned int *ret_wait_s, struct error *err);
/* The attempt succeeded: the name is not charged for it. */
void account_tried_well(struct accounts *accounts, const char *handle);

/* The hash of a password to store, or, with an account's stored one as `setting`, to compare. */
int account_hash_new(struct accounts *accounts, const char *password, hashed_fn done,
                     void *userdata, struct error *err);
/* `stored` NULL: nobody's, which takes as long and equals nothing. */
int account_hash_again(struct accounts *accounts, const char *password, const char *stored,
                       hashed_fn done, void *userdata, struct error *err);
