/* Preview tokens: which are good, and requests without them. */
#include "proxy/access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID    "abcdefgh2345"
#define OTHER "abcdefgh2346"
#define NOW   1000000

static struct preview_key key = {.known = true};
static char token[PREVIEW_TOKEN_LENGTH + 1];

static int set_up(void **state)
{
    (void)state;
    memset(key.text, 'k', sizeof(key.text));
    return preview_token_make(&key, ID, NOW + 10, 7, token, NULL);
}

static int64_t check(const char *text, const char *id, uint32_t epoch, int64_t now)
{
    const struct preview_claims claims = {id, epoch, now};
    size_t length = strlen(text);
    char *exact = malloc(length + 1); /* a byte read too many is found */

    assert_non_null(exact);
    memcpy(exact, text, length);
    int64_t r = preview_token_check(&key, exact, length, &claims);
    free(exact);
    return r;
}

static void a_token_opens_its_sandbox_until_it_expires(void **state)
{
    (void)state;
    assert_int_equal(strlen(token), PREVIEW_TOKEN_LENGTH);
    assert_int_equal(check(token, ID, 7, NOW), NOW + 10);
    assert_int_equal(check(token, ID, 7, NOW + 9), NOW + 10);
    assert_true(check(token, ID, 7, NOW + 10) < 0);
    assert_true(check(token, ID, 6, NOW) < 0);
    assert_true(check(token, ID, 8, NOW) < 0);
    assert_true(check(token, OTHER, 7, NOW) < 0);
    assert_int_equal(strspn(token, "abcdefghijklmnopqrstuvwxyz0123456789_"), PREVIEW_TOKEN_LENGTH);
}

static void every_character_counts(void **state)
{
    char changed[PREVIEW_TOKEN_LENGTH + 2];

    (void)state;
    for (size_t i = 0; i < PREVIEW_TOKEN_LENGTH; i++)
        for (const char *c = "0fFgz_ \n\xff"; *c; c++) {
            snprintf(changed, sizeof(changed), "%s", token);
            if (changed[i] == *c)
                continue;
            changed[i] = *c;
            assert_true(check(changed, ID, 7, NOW) < 0);
        }
    snprintf(changed, sizeof(changed), "%s0", token);
    assert_true(check(changed, ID, 7, NOW) < 0);
    changed[PREVIEW_TOKEN_LENGTH - 1] = '\0';
    assert_true(check(changed, ID, 7, NOW) < 0);
    assert_true(check("", ID, 7, NOW) < 0);
}

static void another_key_or_none_opens_nothing(void **state)
{
    const struct preview_claims claims = {ID, 7, NOW};
    struct preview_key other = key, none = {.known = false};
    char unmade[PREVIEW_TOKEN_LENGTH + 1];

    (void)state;
    other.text[63] = 'x';
    assert_true(preview_token_check(&other, token, PREVIEW_TOKEN_LENGTH, &claims) < 0);
    assert_true(preview_token_check(&none, token, PREVIEW_TOKEN_LENGTH, &claims) < 0);
    assert_true(preview_token_make(&none, ID, NOW, 7, unmade, NULL) < 0);
}

static enum access_verdict ask(const char *target, const char *field, bool secure,
                               struct access_result *ret_result)
{
    static char text[4096];
    static struct head head;
    const struct preview_claims claims = {ID, 7, NOW};
    struct head_error error;
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", target, field);

    assert_int_equal(head_parse_request((struct text){text, (size_t)n}, &head, &error), 0);
    access_check(&key, &head, &claims, secure, ret_result);
    return ret_result->verdict;
}

#define GIVEN(format) (snprintf(given, sizeof(given), format, token), given)

static void places_of_tokens(void **state)
{
    static char given[512];
    struct access_result result;

    (void)state;
    assert_int_equal(ask("/", "", false, &result), ACCESS_MISSING);
    assert_int_equal(ask("/?a", "Cookie: a=b\r\nAuthorization: Basic eDp5\r\n", false, &result),
                     ACCESS_MISSING);
    assert_int_equal(ask(GIVEN("/?a&auracode_token=%s"), "", false, &result), ACCESS_GRANTED);
    assert_int_equal(result.query.length, PREVIEW_TOKEN_LENGTH);
    assert_int_equal(result.expires_at, NOW + 10);
    assert_int_equal(ask(GIVEN("/?auracode_token=x&auracode_token=%s"), "", false, &result),
                     ACCESS_GRANTED);
    assert_int_equal(ask(GIVEN("/?xauracode_token=%s"), "", false, &result), ACCESS_MISSING);
    assert_int_equal(ask("/", GIVEN("X-Auracode-Token: %s\r\n"), false, &result), ACCESS_GRANTED);
    assert_int_equal(result.query.length, 0);
    assert_int_equal(ask("/", GIVEN("Authorization: bearer  %s\r\n"), false, &result),
                     ACCESS_GRANTED);
    assert_int_equal(ask("/", "X-Auracode-Token: x\r\n", false, &result), ACCESS_REFUSED);
    assert_int_equal(ask("/?auracode_token", "", false, &result), ACCESS_REFUSED);
}

static void cookies_are_of_one_sandbox_and_scheme(void **state)
{
    static char given[512];
    struct access_result result;

    (void)state;
    GIVEN("Cookie: auracode_token_" ID "=x; auracode_token_" ID "=%s\r\n");
    assert_int_equal(ask("/", given, false, &result), ACCESS_GRANTED);
    assert_int_equal(ask("/", given, true, &result), ACCESS_MISSING);
    GIVEN("Cookie: a=b;__Host-auracode_token_" ID "=%s\r\n");
    assert_int_equal(ask("/", given, true, &result), ACCESS_GRANTED);
    assert_int_equal(ask("/", given, false, &result), ACCESS_MISSING);
    GIVEN("Cookie: auracode_token_" OTHER "=%s\r\n");
    assert_int_equal(ask("/", given, false, &result), ACCESS_MISSING);
}

static void a_query_loses_the_parameter_alone(void **state)
{
    static const char *const cases[][2] = {
        {"/", "/"},
        {"/?", "/?"},
        {"/?a&&b=?c", "/?a&&b=?c"},
        {"/?auracode_token=1", "/"},
        {"/?auracode_token", "/"},
        {"/?auracode_token=1&a", "/?a"},
        {"/?a&auracode_token=1&b&auracode_token=2", "/?a&b"},
        {"/?auracode_token2=1&%61uracode_token=1", "/?auracode_token2=1&%61uracode_token=1"},
        {"/auracode_token=1", "/auracode_token=1"},
    };
    char memory[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer out = {.data = memory};
        struct text path = {cases[i][0], strlen(cases[i][0])};
        assert_int_equal(access_add_path(&out, path), 0);
        memory[out.length] = '\0';
        assert_string_equal(memory, cases[i][1]);
        assert_int_equal(access_in_query(path), strcmp(cases[i][0], cases[i][1]) != 0);
    }
}

static void cookies_lose_ours_alone(void **state)
{
    static const char *const cases[][2] = {
        {"a=b", "Cookie: a=b\r\n"},
        {"a=b;  c ; ;d=\"e\"", "Cookie: a=b;  c ; ;d=\"e\"\r\n"},
        {"auracode_token_" ID "=1", ""},
        {"auracode_token_x=1; a=b", "Cookie: a=b\r\n"},
        {"a=b; __Host-auracode_token_x=1", "Cookie: a=b\r\n"},
        {"a=b; __HOST-AURACODE_TOKEN_X=1;c", "Cookie: a=b;c\r\n"},
        {"auracode_token=1; xauracode_token_=2",
         "Cookie: auracode_token=1; xauracode_token_=2\r\n"},
        {"auracode_token_", ""},
    };
    char memory[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer out = {.data = memory};
        struct head_field field = {
            .name = TEXT("Cookie"), .value = {cases[i][0], strlen(cases[i][0])}, .id = NAME_COOKIE};
        assert_int_equal(access_add_cookies(&out, &field), 0);
        memory[out.length] = '\0';
        assert_string_equal(memory, cases[i][1]);
    }
}

static void no_dev_server_sets_ours(void **state)
{
    (void)state;
    assert_true(access_sets_ours(TEXT("auracode_token_" ID "=1; Path=/")));
    assert_true(access_sets_ours(TEXT(" __host-Auracode_token_x=1")));
    assert_true(access_sets_ours(TEXT("=auracode_token_x=1")));
    assert_true(access_sets_ours(TEXT("auracode_token_x")));
    assert_false(access_sets_ours(TEXT("a=auracode_token_x; Path=/")));
    assert_false(access_sets_ours(TEXT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_opens_its_sandbox_until_it_expires),
        cmocka_unit_test(every_character_counts),
        cmocka_unit_test(another_key_or_none_opens_nothing),
        cmocka_unit_test(places_of_tokens),
        cmocka_unit_test(cookies_are_of_one_sandbox_and_scheme),
        cmocka_unit_test(a_query_loses_the_parameter_alone),
        cmocka_unit_test(cookies_lose_ours_alone),
        cmocka_unit_test(no_dev_server_sets_ours),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
