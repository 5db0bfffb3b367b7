/* Texts and tables of the CLI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/table.h"
#include "cli/text.h"

#include <string.h>

static void test_size(void **state)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1 KiB"},
                 {1536, "1.5 KiB"},
                 {1 << 30, "1 GiB"},
                 {(int64_t)5 << 40, "5 TiB"},
                 {200 << 20, "200 MiB"}};
    char text[32];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        text_size(cases[i].bytes, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static void test_age(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{-5, "0s"}, {119999, "119s"}, {120000, "2m"}, {7200000, "2h"}, {172800000, "2d"}};
    char text[32];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        text_age(cases[i].ms, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static void test_escape(void **state)
{
    cleanup_free char *all = text_url_escape("a b/ü&?%", false);
    cleanup_free char *path = text_url_escape("/app/a b", true);

    (void)state;
    assert_string_equal(all, "a%20b%2F%C3%BC%26%3F%25");
    assert_string_equal(path, "/app/a%20b");
}

static void test_printable(void **state)
{
    cleanup_free char *escape = text_printable("a\033[2Jb\n");
    cleanup_free char *c1 = text_printable("x\xc2\x9b"
                                           "2Jü");

    (void)state;
    assert_string_equal(escape, "a?[2Jb?");
    assert_string_equal(c1, "x??2Jü");
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(text_distance("insepct", "inspect"), 1);
    assert_int_equal(text_distance("lss", "ls"), 1);
    assert_int_equal(text_distance("creat", "create"), 1);
    assert_int_equal(text_distance("", "ls"), 2);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_true(text_distance("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ls") == SIZE_MAX);
}

static void test_signals(void **state)
{
    (void)state;
    assert_int_equal(text_signal_number("SIGKILL"), 9);
    assert_int_equal(text_signal_number("SIGTERM"), 15);
    assert_int_equal(text_signal_number("KILL"), 0);
    assert_int_equal(text_signal_number("SIGNOTHING"), 0);
    assert_int_equal(text_signal_number(NULL), 0);
}

static void test_table(void **state)
{
    static const char *const headers[] = {"ID", "NAME", NULL};
    cleanup_free char *text = NULL;
    size_t length;
    cleanup_table struct table table;

    (void)state;
    table_init(&table, headers);
    table_add(&table, "ü");
    table_add(&table, NULL);
    table_add(&table, "longer");
    table_add(&table, "e\033f");
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(table_print(&table, out, false), 0);
    fclose(out);
    assert_string_equal(text, "ID      NAME\nü       -\nlonger  e?f\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),     cmocka_unit_test(test_age),
        cmocka_unit_test(test_escape),   cmocka_unit_test(test_printable),
        cmocka_unit_test(test_distance), cmocka_unit_test(test_signals),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
