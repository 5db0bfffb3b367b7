/* Passwords of accounts: their form, their hashes, and the threads that make these. */
#include "api/account/hasher.h"
#include "api/store/accounts.h"
#include "base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
    static const char *const bad[] = {"",     "a b", "a\tb",     "a\"b",
                                      "a<b>", "a:b", "\xc3\xa4", "a\x7f"};
    char handle[ACCOUNT_NAME_MAX + 1], longest[ACCOUNT_NAME_MAX + 2];
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(account_handle("Ada.Lovelace+x@Example.COM", handle, NULL), 0);
    assert_string_equal(handle, "ada.lovelace+x@example.com");
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        assert_int_equal(account_handle(bad[i], handle, &err), -EINVAL);
        assert_string_equal(err.field, "name");
    }
    memset(longest, 'a', sizeof(longest));
    longest[ACCOUNT_NAME_MAX + 1] = '\0';
    assert_int_equal(account_handle(longest, handle, NULL), -EINVAL);
    longest[ACCOUNT_NAME_MAX] = '\0';
    assert_int_equal(account_handle(longest, handle, NULL), 0);
}

/* The same text in two spellings is the same password; no byte of a long one is without effect. */
static void test_digests(void **state)
{
    char one[PASSWORD_DIGEST_SIZE], two[PASSWORD_DIGEST_SIZE], text[PASSWORD_MAX + 1];
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(password_digest("r\xc3\xa9sum\xc3\xa9 1", one, NULL), 0);
    assert_int_equal(password_digest("re\xcc\x81sume\xcc\x81 1", two, NULL), 0);
    assert_string_equal(one, two);
    assert_int_equal(password_digest("r\xc3\xa9sum\xc3\xa9 2", two, NULL), 0);
    assert_string_not_equal(one, two);
    memset(text, 'x', PASSWORD_MAX);
    text[PASSWORD_MAX] = '\0';
    assert_int_equal(password_digest(text, one, NULL), 0);
    text[PASSWORD_MAX - 1] = 'y';
    assert_int_equal(password_digest(text, two, NULL), 0);
    assert_string_not_equal(one, two);
    assert_int_equal(password_digest("bad\x01secret", one, &err), -EINVAL);
    assert_string_equal(err.field, "password");
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(password_digest("\xff\xff\xff", one, NULL), -EINVAL);
}

static void test_hash(void **state)
{
    cleanup_free struct crypt_data *scratch = calloc(1, sizeof(*scratch));
    char setting[CRYPT_OUTPUT_SIZE], hash[CRYPT_OUTPUT_SIZE], again[CRYPT_OUTPUT_SIZE];
    char other[CRYPT_OUTPUT_SIZE];

    (void)state;
    assert_non_null(scratch);
    assert_int_equal(password_setting(setting, NULL), 0);
    assert_int_equal(password_setting(other, NULL), 0);
    assert_string_not_equal(setting, other);
    assert_int_equal(strncmp(setting, "$y$jBT$", 7), 0); /* N = 2^14, r = 32 */
    assert_int_equal(password_hash("one", setting, scratch, hash), 0);
    assert_int_equal(password_hash("one", hash, scratch, again), 0);
    assert_true(password_hash_equal(hash, again));
    assert_int_equal(password_hash("two", hash, scratch, again), 0);
    assert_false(password_hash_equal(hash, again));
    assert_false(password_hash_equal(hash, ""));
    assert_int_equal(password_hash("one", "", scratch, again), -EINVAL);
    assert_int_equal(password_hash("one", "$y$", scratch, again), -EINVAL);
}

struct counts {
    sd_event *event;
    size_t hashed, failed, expected;
};

static void on_hashed(void *userdata, const char *hash, const struct error *err)
{
    struct counts *counts = userdata;

    if (hash)
        counts->hashed++;
    else
        counts->failed += err->err == EAGAIN;
    if (counts->hashed == counts->expected)
        sd_event_exit(counts->event, 0);
}

/* What waits is bounded; whoever is let in is answered, also when the end comes before its turn. */
static void test_queue(void **state)
{
    struct counts counts = {.event = NULL};
    struct hasher *hasher = NULL;
    struct error err = ERROR_NONE;
    char setting[CRYPT_OUTPUT_SIZE];
    size_t taken = 0;

    (void)state;
    assert_true(sd_event_new(&counts.event) >= 0);
    assert_int_equal(hasher_new(counts.event, &hasher, NULL), 0);
    assert_int_equal(password_setting(setting, NULL), 0);
    while (hasher_submit(hasher, "digest", setting, on_hashed, &counts, &err) == 0)
        taken++;
    assert_string_equal(err.code, "busy");
    assert_in_range(taken, HASHER_WAITING, 1000);
    counts.expected = HASHER_THREADS;
    assert_int_equal(sd_event_loop(counts.event), 0);
    hasher_free(hasher);
    assert_int_equal(counts.hashed + counts.failed, taken);
    assert_true(counts.hashed >= HASHER_THREADS);
    assert_true(counts.failed > 0);
    sd_event_unref(counts.event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
