/* Theory of operation: see accounts.h. What is known of accounts is a table of fixed size that
 * newer ones overwrite. An answer of the database that was asked before a change may be older than
 * the change: `changes` counts them, and such an answer is used but not kept. */
#include "api/account/accounts.h"

#include "api/http.h"
#include "api/jwt.h"
#include "api/store/accounts.h"
#include "base/cleanup.h"
#include "base/secret-key.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define KNOWN 1024u

/* Attempts to log in: a second, and at once. */
#define NAME_RATE    0.1
#define NAME_BURST   5.0
#define CLIENT_RATE  0.5
#define CLIENT_BURST 30.0

struct known {
    char id[DB_USER_SIZE];
    int64_t epoch; /* 0: there is no such account, or it is disabled */
    int64_t until_ms;
};

struct accounts {
    struct api *api;
    struct hasher *hasher;
    struct known known[KNOWN];
    uint64_t changes;
    struct limiter names, clients;
    char nobody[CRYPT_OUTPUT_SIZE]; /* a setting that no account has */
};

int accounts_take_key(struct api *api, struct error *err)
{
    char key[SECRET_KEY_LENGTH];
    int r = secret_key_take("login-key", key, err);

    if (r == 0)
        r = jwt_set_own_key(api->jwt, key, sizeof(key), err);
    explicit_bzero(key, sizeof(key));
    return r;
}

int accounts_new(struct api *api, struct error *err)
{
    struct accounts *accounts = calloc(1, sizeof(*accounts));

    if (!accounts)
        return error_oom(err);
    accounts->api = api;
    limiter_init(&accounts->names, NAME_RATE, NAME_BURST);
    limiter_init(&accounts->clients, CLIENT_RATE, CLIENT_BURST);
    int r = password_setting(accounts->nobody, err);
    if (r == 0)
        r = hasher_new(api->event, &accounts->hasher, err);
    if (r < 0) {
        accounts_free(accounts);
        return r;
    }
    api->accounts = accounts;
    return 0;
}

void accounts_free(struct accounts *accounts)
{
    if (!accounts)
        return;
    hasher_free(accounts->hasher);
    free(accounts);
}

/* ---- epochs -----------------------------------------------------------------------------------
 */

struct check {
    struct accounts *accounts;
    char id[DB_USER_SIZE];
    int64_t epoch;
    uint64_t changes; /* when the database was asked */
    account_checked_fn done;
    void *userdata;
};

static struct known *place_of(struct accounts *accounts, const char *id)
{
    return &accounts->known[limiter_key(accounts->api->limiter_seed, id, strlen(id)) % KNOWN];
}

static void keep(struct accounts *accounts, const char *id, int64_t epoch)
{
    struct known *place = place_of(accounts, id);

    snprintf(place->id, sizeof(place->id), "%s", id);
    place->epoch = epoch;
    place->until_ms = now_monotonic_ms() + ACCOUNT_KNOWN_MS;
}

static void on_account(void *userdata, const struct db_result *results, const struct error *err)
{
    struct check *check = userdata;
    struct store_account account = {.epoch = 0};

    if (results && results[0].rows > 0)
        account_from_row(&results[0], 0, &account);
    explicit_bzero(account.hash, sizeof(account.hash));
    int64_t epoch = account.disabled ? 0 : account.epoch;
    if (results && check->changes == check->accounts->changes)
        keep(check->accounts, check->id, epoch);
    check->done(check->userdata, results && epoch == check->epoch && epoch > 0, err);
    free(check);
}

static void ask(struct accounts *accounts, const char *id, int64_t epoch, account_checked_fn done,
                void *userdata)
{
    struct check *check = calloc(1, sizeof(*check));
    struct error err = ERROR_NONE;

    if (!check) {
        error_oom(&err);
        done(userdata, false, &err);
        return;
    }
    *check = (struct check){.accounts = accounts,
                            .epoch = epoch,
                            .changes = accounts->changes,
                            .done = done,
                            .userdata = userdata};
    snprintf(check->id, sizeof(check->id), "%s", id);
    accounts_find(accounts->api->db, check->id, on_account, check);
}

void account_check(struct accounts *accounts, const char *id, int64_t epoch,
                   account_checked_fn done, void *userdata)
{
    const struct known *place = place_of(accounts, id);

    if (str_equal(place->id, id) && now_monotonic_ms() < place->until_ms)
        done(userdata, epoch > 0 && place->epoch == epoch, NULL);
    else
        ask(accounts, id, epoch, done, userdata);
}

void account_changed(struct accounts *accounts, const char *id, bool ended)
{
    struct known *place = place_of(accounts, id);

    accounts->changes++;
    if (str_equal(place->id, id))
        *place = (struct known){.epoch = 0};
    if (ended)
        http_abort_credential(accounts->api->http, id);
}

/* ---- attempts ---------------------------------------------------------------------------------
 */

static uint64_t name_key(const struct accounts *accounts, const char *handle)
{
    return limiter_key(accounts->api->limiter_seed, handle, strlen(handle));
}

/* The client is charged first: one that has used up its attempts takes none from the names. */
int account_may_try(struct accounts *accounts, const uint64_t *client, const char *handle,
                    unsigned int *ret_wait_s, struct error *err)
{
    int64_t now_ms = now_monotonic_ms();
    uint64_t name = name_key(accounts, handle);

    if (client && !limiter_take(&accounts->clients, *client, now_ms)) {
        *ret_wait_s = limiter_wait_s(&accounts->clients, *client, now_ms);
        return error_set_code(err, EACCES, "rate_limited",
                              "too many attempts to log in from this address");
    }
    if (!limiter_take(&accounts->names, name, now_ms)) {
        *ret_wait_s = limiter_wait_s(&accounts->names, name, now_ms);
        return error_set_code(err, EACCES, "rate_limited",
                              "too many attempts to log in with this name");
    }
    return 0;
}

void account_tried_well(struct accounts *accounts, const char *handle)
{
    limiter_give(&accounts->names, name_key(accounts, handle), now_monotonic_ms());
}

/* ---- passwords --------------------------------------------------------------------------------
 */

static int hash_with(struct accounts *accounts, const char *password, const char *setting,
                     hashed_fn done, void *userdata, struct error *err)
{
    char digest[PASSWORD_DIGEST_SIZE];
    int r = password_digest(password, digest, err);

    if (r == 0)
        r = hasher_submit(accounts->hasher, digest, setting, done, userdata, err);
    explicit_bzero(digest, sizeof(digest));
    return r;
}

int account_hash_new(struct accounts *accounts, const char *password, hashed_fn done,
                     void *userdata, struct error *err)
{
    char setting[CRYPT_OUTPUT_SIZE];
    int r = password_setting(setting, err);

    return r == 0 ? hash_with(accounts, password, setting, done, userdata, err) : r;
}

int account_hash_again(struct accounts *accounts, const char *password, const char *stored,
                       hashed_fn done, void *userdata, struct error *err)
{
    return hash_with(accounts, password, stored ? stored : accounts->nobody, done, userdata, err);
}
