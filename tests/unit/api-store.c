/* The store on a real SQLite file, API keys, and the limiter. */
#include "api/key.h"
#include "api/limiter.h"
#include "api/route.h"
#include "api/store/store.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    char url[128];
    struct store *store;
};

static int open_store(void **state)
{
    static struct fixture fixture;

    snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/api-store-XXXXXX");
    if (!mkdtemp(fixture.dir))
        return -1;
    snprintf(fixture.url, sizeof(fixture.url), "sqlite:%s/db", fixture.dir);
    *state = &fixture;
    return store_open(fixture.url, &fixture.store, NULL);
}

static int close_store(void **state)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    struct fixture *fixture = *state;
    char path[128];

    store_close(fixture->store);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->dir, files[i]);
        unlink(path);
    }
    return rmdir(fixture->dir);
}

static int reopen(struct fixture *fixture, struct error *err)
{
    store_close(fixture->store);
    fixture->store = NULL;
    return store_open(fixture->url, &fixture->store, err);
}

static int count(void *userdata, const struct store_key *key)
{
    (void)key;
    ++*(int *)userdata;
    return 0;
}

static void test_keys(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = {.name = "n", .owner = "o", .scopes = SCOPE_READ, .created_at = 5};
    struct store_key found;
    char text[KEY_TEXT_MAX];
    int listed = 0;

    assert_int_equal(key_new(text, key.id, NULL), 0);
    assert_int_equal(key_hash(text, key.hash), 0);
    assert_int_equal(store_key_add(fixture->store, &key, NULL), 0);
    assert_true(store_key_add(fixture->store, &key, NULL) < 0);
    assert_int_equal(reopen(fixture, NULL), 0);
    assert_int_equal(store_key_find(fixture->store, key.hash, &found, NULL), 0);
    assert_string_equal(found.id, key.id);
    assert_string_equal(found.owner, "o");
    assert_int_equal(found.scopes, SCOPE_READ);
    assert_int_equal(found.last_used_at, 0);
    assert_int_equal(store_key_touch(fixture->store, key.id, 77), 0);
    assert_int_equal(store_key_find(fixture->store, key.hash, &found, NULL), 0);
    assert_int_equal(found.last_used_at, 77);
    assert_int_equal(store_key_list(fixture->store, count, &listed, NULL), 0);
    assert_int_equal(listed, 1);
    assert_int_equal(store_key_revoke(fixture->store, key.id, 99, NULL), 0);
    assert_int_equal(store_key_revoke(fixture->store, key.id, 99, NULL), -ENOENT);
    assert_int_equal(store_key_find(fixture->store, key.hash, &found, NULL), -ENOENT);
    listed = 0;
    assert_int_equal(store_key_list(fixture->store, count, &listed, NULL), 0);
    assert_int_equal(listed, 0);
}

static void test_answers(void **state)
{
    struct fixture *fixture = *state;
    struct store_answer answer = {.status = 0};
    const int64_t day = 24 * 3600 * (int64_t)1000;

    assert_int_equal(store_answer_begin(fixture->store, "o", "k", "h1", 1000, &answer, NULL), 0);
    assert_int_equal(store_answer_begin(fixture->store, "o", "k", "h2", 1000, &answer, NULL),
                     -EEXIST);
    assert_string_equal(answer.request_hash, "h1");
    assert_int_equal(answer.status, 0);
    free(answer.body);
    assert_int_equal(store_answer_begin(fixture->store, "other", "k", "h2", 1000, &answer, NULL),
                     0);
    assert_int_equal(store_answer_finish(fixture->store, "o", "k", 201, "{}", NULL), 0);
    assert_int_equal(reopen(fixture, NULL), 0);
    assert_int_equal(store_answer_begin(fixture->store, "o", "k", "h1", 1000, &answer, NULL),
                     -EEXIST);
    assert_int_equal(answer.status, 201);
    assert_string_equal(answer.body, "{}");
    free(answer.body);
    /* The one that was being worked on is free again. */
    assert_int_equal(store_answer_begin(fixture->store, "other", "k", "h3", 1000, &answer, NULL),
                     0);
    assert_int_equal(store_answer_finish(fixture->store, "other", "k", 0, NULL, NULL), 0);
    assert_int_equal(store_answer_begin(fixture->store, "other", "k", "h4", 1000, &answer, NULL),
                     0);
    assert_int_equal(store_answer_begin(fixture->store, "o", "k", "h5", 1001 + day, &answer, NULL),
                     0);
}

static void test_newer_schema_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err = ERROR_NONE;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(fixture->url + strlen("sqlite:"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 9999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(reopen(fixture, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.message, "9999"));
}

static void test_unknown_scheme(void **state)
{
    struct store *store = NULL;
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(store_open("mysql://user:secret@host/db", &store, &err), -EINVAL);
    assert_null(strstr(err.message, "secret"));
}

static void test_key_form(void **state)
{
    char text[KEY_TEXT_MAX], id[KEY_ID_SIZE], hash[KEY_HASH_SIZE], again[KEY_HASH_SIZE];

    (void)state;
    assert_int_equal(key_new(text, id, NULL), 0);
    assert_int_equal(strlen(text), 46);
    assert_int_equal(key_hash(text, hash), 0);
    assert_int_equal(key_hash(text, again), 0);
    assert_true(key_hash_equal(hash, again));
    text[10] = text[10] == 'A' ? 'B' : 'A';
    assert_int_equal(key_hash(text, again), 0);
    assert_false(key_hash_equal(hash, again));
    text[10] = '!';
    assert_int_equal(key_hash(text, hash), -EINVAL);
    assert_int_equal(key_hash("ak_", hash), -EINVAL);
    assert_int_equal(digest_hex("abc", 3, hash), 0);
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_limiter(void **state)
{
    static struct limiter limiter;
    uint64_t one = limiter_key(7, "a", 1), two = limiter_key(7, "b", 1);

    (void)state;
    limiter_init(&limiter, 2.0, 3.0);
    assert_int_not_equal(one, two);
    for (int i = 0; i < 3; i++)
        assert_true(limiter_take(&limiter, one, 1000));
    assert_false(limiter_take(&limiter, one, 1000));
    assert_true(limiter_take(&limiter, two, 1000));
    assert_false(limiter_take(&limiter, one, 1499));
    assert_true(limiter_take(&limiter, one, 1999));
    assert_false(limiter_take(&limiter, one, 1999));
}

/* A flood of other keys does not make the table grow or fail. */
static void test_limiter_flood(void **state)
{
    static struct limiter limiter;

    (void)state;
    limiter_init(&limiter, 1.0, 1.0);
    for (uint32_t i = 0; i < 100000; i++)
        assert_true(limiter_take(&limiter, limiter_key(1, &i, sizeof(i)), 1000 + i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_answers, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_newer_schema_is_refused, open_store, close_store),
        cmocka_unit_test(test_unknown_scheme),
        cmocka_unit_test(test_key_form),
        cmocka_unit_test(test_limiter),
        cmocka_unit_test(test_limiter_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
