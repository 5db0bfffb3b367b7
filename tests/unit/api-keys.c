/* API keys and the limiter. */
#include "api/key.h"
#include "api/limiter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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
    limiter_give(&limiter, one, 1999);
    assert_true(limiter_take(&limiter, one, 1999));
}

static void test_limiter_wait(void **state)
{
    static struct limiter limiter;
    uint64_t key = limiter_key(7, "a", 1);

    (void)state;
    limiter_init(&limiter, 0.1, 1.0);
    assert_true(limiter_take(&limiter, key, 1000));
    assert_int_equal(limiter_wait_s(&limiter, key, 1000), 10);
    assert_int_equal(limiter_wait_s(&limiter, key, 9500), 2);
    assert_int_equal(limiter_wait_s(&limiter, key, 10999), 1);
    assert_false(limiter_take(&limiter, key, 10990));
    assert_true(limiter_take(&limiter, key, 11010));
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
        cmocka_unit_test(test_key_form),
        cmocka_unit_test(test_limiter),
        cmocka_unit_test(test_limiter_wait),
        cmocka_unit_test(test_limiter_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
