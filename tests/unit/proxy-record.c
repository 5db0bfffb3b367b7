/* Strangers' text in the access log: JSON whatever it is, bounded, without tokens; and whose
 * address stands there. */
#include "proxy/forwarded.h"
#include "proxy/record-line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TOKEN "pt_abcdefgh2345000000006800000000000007" HEX64

/* The member's value as a JSON parser reads it; the caller's. */
static json_t *written(struct text value, size_t most)
{
    char text[4096] = "{\"first\":1";
    struct record_line line = {text, sizeof(text), strlen(text)};

    record_line_member(&line, TEXT("value"), value, most);
    record_line_add(&line, TEXT("}"));
    assert_true(line.length < sizeof(text));
    assert_null(memchr(text, '\n', line.length));
    json_error_t problem;
    json_t *object = json_loadb(text, line.length, JSON_ALLOW_NUL, &problem);
    if (!object)
        fail_msg("%s in %.*s", problem.text, (int)line.length, text);
    json_t *member = json_incref(json_object_get(object, "value"));
    json_decref(object);
    return member;
}

static void check(struct text value, size_t most, struct text expected)
{
    json_t *member = written(value, most);

    assert_int_equal(json_string_length(member), expected.length);
    assert_memory_equal(json_string_value(member), expected.data, expected.length);
    json_decref(member);
}

static void any_bytes_are_a_string(void **state)
{
    (void)state;
    check(TEXT(""), 64, TEXT(""));
    check(TEXT("/a?b=c&d"), 64, TEXT("/a?b=c&d"));
    check(TEXT("\"\\/\b\n\r\t\x7f\0\x1f"), 64, TEXT("\"\\/\b\n\r\t\x7f\0\x1f"));
    check(TEXT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), 64,
          TEXT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"));
    check(TEXT("a\xff\xc3(\xed\xa0\x80\xc0\xaf\xf0\x9f"), 64,
          TEXT("a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
    check(TEXT("\",\"status\":200,\"x\":\""), 64, TEXT("\",\"status\":200,\"x\":\""));
}

static void what_is_not_there_is_null(void **state)
{
    json_t *member = written((struct text){NULL, 0}, 64);

    (void)state;
    assert_true(json_is_null(member));
    json_decref(member);
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    check(TEXT("0123456789"), 13, TEXT("0123456789"));
    check(TEXT("0123456789a"), 13, TEXT("0123456789\xe2\x80\xa6"));
    check(TEXT("012345678\xe2\x82\xac"), 13, TEXT("012345678\xe2\x80\xa6"));
    check(TEXT("\x01\x02"), 14, TEXT("\x01\xe2\x80\xa6"));
}

static void no_bound_is_exceeded(void **state)
{
    static const char hostile[] = {'\x01', '"', '\xff', 'a', '\xe2', '\x82', '\xac'};
    char value[64], text[256];

    (void)state;
    for (size_t length = 0; length < sizeof(value); length++)
        for (size_t most = 8; most < 80; most++) {
            struct record_line line = {text, sizeof(text), 0};
            for (size_t i = 0; i < length; i++)
                value[i] = hostile[(i * 3 + most) % sizeof(hostile)];
            record_line_member(&line, TEXT("v"), (struct text){value, length}, most);
            assert_true(line.length <= most + strlen(",\"v\":\"\""));
        }
}

static void tokens_are_left_out(void **state)
{
    (void)state;
    check(TEXT("/?auracode_token=" TOKEN), 2048, TEXT("/?auracode_token=***"));
    check(TEXT("/a?x=1&auracode_token=" TOKEN "&y=2"), 2048, TEXT("/a?x=1&auracode_token=***&y=2"));
    check(TEXT("/?auracode_token=no-token-at-all&b"), 2048, TEXT("/?auracode_token=***&b"));
    check(TEXT("/?auracode_token=&b"), 2048, TEXT("/?auracode_token=***&b"));
    check(TEXT("/?auracode_token"), 2048, TEXT("/?auracode_token"));
    check(TEXT("/go?to=http%3A%2F%2Fh%2F%3Fauracode_token%3D" TOKEN "%26b"), 2048,
          TEXT("/go?to=http%3A%2F%2Fh%2F%3Fauracode_token=***"));
    check(TEXT("/x/" TOKEN "/y"), 2048, TEXT("/x/***/y"));
    check(TEXT("/script_0123456789abcdef.js"), 2048, TEXT("/script_0123456789abcdef.js"));
}

/* Also where the bound cuts the text short. */
static void no_part_of_a_token_is_left(void **state)
{
    (void)state;
    for (size_t most = 8; most < 300; most++) {
        json_t *member = written(TEXT("/0123456789?auracode_token=" TOKEN "#" TOKEN), most);
        assert_null(strstr(json_string_value(member), "pt_"));
        assert_null(strstr(json_string_value(member), "abcdefgh"));
        json_decref(member);
    }
}

static void numbers(void **state)
{
    char text[64];
    struct record_line line = {text, sizeof(text), 0};

    (void)state;
    record_line_number(&line, 0);
    record_line_add(&line, TEXT(" "));
    record_line_number(&line, UINT64_MAX);
    record_line_add(&line, TEXT(" "));
    record_line_ms(&line, 12034005);
    record_line_add(&line, TEXT(" "));
    record_line_ms(&line, 7);
    text[line.length] = '\0';
    assert_string_equal(text, "0 18446744073709551615 12034.005 0.007");
}

static void the_client_is_who_the_trusted_proxies_saw(void **state)
{
    static const struct {
        const char *told, *expected;
    } cases[] = {
        {"", ""},
        {"203.0.113.7", "203.0.113.7"},
        {"198.51.100.1, 203.0.113.7", "203.0.113.7"},
        {"198.51.100.1, 203.0.113.7, 127.0.0.1", "203.0.113.7"},
        {"2001:db8::1, ::1", "2001:db8::1"},
        {"127.0.0.2, 127.0.0.1", "127.0.0.2"},
        {"203.0.113.7,", ""},
        {",203.0.113.7", "203.0.113.7"},
    };
    struct networks trusted;

    (void)state;
    assert_int_equal(networks_parse("127.0.0.0/8, ::1", &trusted), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text told = {cases[i].told, strlen(cases[i].told)};
        struct text client = forwarded_client(told, &trusted);
        assert_int_equal(client.length, strlen(cases[i].expected));
        assert_memory_equal(client.data, cases[i].expected, client.length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_are_a_string),
        cmocka_unit_test(what_is_not_there_is_null),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(no_bound_is_exceeded),
        cmocka_unit_test(tokens_are_left_out),
        cmocka_unit_test(no_part_of_a_token_is_left),
        cmocka_unit_test(numbers),
        cmocka_unit_test(the_client_is_who_the_trusted_proxies_saw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
