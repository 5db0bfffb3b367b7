/* Which sandbox and port a request is for. */
#include "proxy/host.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ID "abcdefgh2345"

static void authorities(void **state)
{
    static const struct {
        const char *text;
        int expected;
    } cases[] = {
        {"localhost", 9},    {"localhost:7080", 9}, {"a_b-c.d.", 8},    {"127.0.0.1:1", 9},
        {"[::1]", 5},        {"[::1]:65535", 5},    {"", -EINVAL},      {":80", -EINVAL},
        {"a:", -EINVAL},     {"a:0", -EINVAL},      {"a:080", -EINVAL}, {"a:65536", -EINVAL},
        {"a:8x", -EINVAL},   {"a:80:80", -EINVAL},  {"a b", -EINVAL},   {"a/b", -EINVAL},
        {"user@a", -EINVAL}, {"a,b", -EINVAL},      {"a%2e", -EINVAL},  {"\xc3\xa4", -EINVAL},
        {"[::1", -EINVAL},   {"[]", -EINVAL},       {"[g::]", -EINVAL}, {"::1", -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(authority_check(text_of(cases[i].text)), cases[i].expected);
}

static void authority_is_bounded(void **state)
{
    char name[400];

    (void)state;
    memset(name, 'a', sizeof(name));
    assert_int_equal(authority_check((struct text){name, 300}), 300);
    assert_int_equal(authority_check((struct text){name, 301}), -EINVAL);
}

static void host_form(void **state)
{
    static const struct {
        const char *text;
        bool found;
        uint16_t port;
    } cases[] = {
        {ID ".localhost", true, 0},
        {ID ".localhost:7080", true, 0},
        {"ABCDEFGH2345.LocalHost", true, 0},
        {"5173-" ID ".localhost:7080", true, 5173},
        {"65535-" ID ".localhost", true, 65535},
        {"0-" ID ".localhost", false, 0},
        {"080-" ID ".localhost", false, 0},
        {"65536-" ID ".localhost", false, 0},
        {"100000-" ID ".localhost", false, 0},
        {"-" ID ".localhost", false, 0},
        {"5173-5174-" ID ".localhost", false, 0},
        {ID, false, 0},
        {"localhost", false, 0},
        {".localhost", false, 0},
        {ID "localhost", false, 0},
        {ID ".localhost.", false, 0},
        {ID ".localhost.example.org", false, 0},
        {"x." ID ".localhost", false, 0},
        {"abcdefgh234.localhost", false, 0},
        {"abcdefgh23456.localhost", false, 0},
        {"abcdefgh2341.localhost", false, 0},
        {"abcdefgh234_.localhost", false, 0},
        {"[::1]:7080", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct target target = {.port = 9};
        assert_int_equal(target_from_authority(text_of(cases[i].text), TEXT("localhost"), &target),
                         cases[i].found);
        if (!cases[i].found) {
            assert_int_equal(target.port, 9);
            continue;
        }
        assert_string_equal(target.id, ID);
        assert_int_equal(target.port, cases[i].port);
        assert_int_equal(target.path_prefix, 0);
    }
}

static void path_form(void **state)
{
    static const struct {
        const char *text;
        size_t prefix; /* 0: none */
        bool slash_missing;
    } cases[] = {
        {"/p/" ID "/5173/", 20, false},
        {"/p/" ID "/5173/a/b?c", 20, false},
        {"/p/" ID "/5173", 20, true},
        {"/p/" ID "/5173?x", 20, true},
        {"/p/" ID "/05173/", 0, false},
        {"/p/" ID "/0/", 0, false},
        {"/p/" ID "/65536/", 0, false},
        {"/p/" ID "//", 0, false},
        {"/p/" ID "/", 0, false},
        {"/p/" ID, 0, false},
        {"/p/ABCDEFGH2345/5173/", 0, false},
        {"/p/abcdefgh2341/5173/", 0, false},
        {"/P/" ID "/5173/", 0, false},
        {"/p/" ID "x/5173/", 0, false},
        {"/q/" ID "/5173/", 0, false},
        {"/", 0, false},
        {"*", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct target target = {.port = 0};
        assert_int_equal(target_from_path(text_of(cases[i].text), &target), cases[i].prefix > 0);
        assert_int_equal(target.path_prefix, cases[i].prefix);
        assert_int_equal(target.slash_missing, cases[i].slash_missing);
        assert_int_equal(target.port, cases[i].prefix > 0 ? 5173 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authorities),
        cmocka_unit_test(authority_is_bounded),
        cmocka_unit_test(host_form),
        cmocka_unit_test(path_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
