/* Option parsing of the CLI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/args.h"

#include <string.h>

static const struct option_spec some[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct options, json), NULL, ""},
    {"follow", 'f', OPTION_FLAG, offsetof(struct options, follow), NULL, ""},
    {"tty", 't', OPTION_FLAG, offsetof(struct options, tty), NULL, ""},
    {"cwd", 'w', OPTION_STRING, offsetof(struct options, cwd), "DIR", ""},
    {"env", 'e', OPTION_PAIRS, offsetof(struct options, env), "K=V", ""},
    {"memory", 'm', OPTION_SIZE, offsetof(struct options, memory), "SIZE", ""},
    {"cpu", 0, OPTION_REAL, offsetof(struct options, cpu), "N", ""},
    {"timeout", 0, OPTION_DURATION, offsetof(struct options, timeout_ms), "TIME", ""},
};

struct parsed {
    struct options options;
    char *args[16];
    int n_args;
    struct error err;
};

/* `words`: separated by '|'. */
static int parse(const char *words, bool stop_at_first, struct parsed *parsed)
{
    static char copy[256];
    const struct option_table tables[2] = {{some, ELEMENTS(some)}};
    char *argv[16];
    int argc = 0;

    *parsed = (struct parsed){0};
    snprintf(copy, sizeof(copy), "%s", words);
    char *next = copy;
    for (char *word; (word = strsep(&next, "|"));)
        argv[argc++] = word;
    return args_parse(tables, argv, argc, stop_at_first, &parsed->options, parsed->args,
                      &parsed->n_args, &parsed->err);
}

static void test_forms(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse("one|--json|-ft|--cwd=/tmp|-eA=1|-e|B=x=y|two", false, &p), 0);
    assert_true(p.options.json && p.options.follow && p.options.tty);
    assert_string_equal(p.options.cwd, "/tmp");
    assert_int_equal(p.options.env.count, 2);
    assert_string_equal(p.options.env.items[1], "B=x=y");
    assert_int_equal(p.n_args, 2);
    assert_string_equal(p.args[1], "two");
    assert_null(p.args[2]);
}

static void test_values(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse("-m1GiB|--cpu|0.5|--timeout=1500ms", false, &p), 0);
    assert_int_equal(p.options.memory, 1 << 30);
    assert_true(p.options.cpu > 0.49 && p.options.cpu < 0.51);
    assert_int_equal(p.options.timeout_ms, 1500);
}

static void test_stop_at_first(void **state)
{
    struct parsed p;

    (void)state;
    assert_int_equal(parse("-t|box|ls|-f|--json", true, &p), 0);
    assert_true(p.options.tty);
    assert_false(p.options.follow || p.options.json);
    assert_int_equal(p.n_args, 4);
    assert_int_equal(parse("box|--|ls|--|-f", true, &p), 0);
    assert_int_equal(p.n_args, 4); /* the first -- only parts the sandbox from its command */
    assert_int_equal(parse("--|-f", false, &p), 0);
    assert_int_equal(p.n_args, 1);
    assert_false(p.options.follow);
}

static void test_refusals(void **state)
{
    static const char *const bad[] = {"--nothing",  "-x",           "--cwd",    "--json=1",
                                      "--cwd=",     "--env|A",      "--env|=b", "--memory|1X",
                                      "--memory|0", "--timeout|-1", "--cpu|0",  "--cpu|1e3",
                                      "--jso",      "--timeout|5d"};
    struct parsed p;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        assert_true(parse(bad[i], false, &p) < 0);
        assert_true(p.err.message[0]);
    }
}

static void test_duration(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0}, {"7", 7000}, {"7s", 7000}, {"7ms", 7}, {"2m", 120000}, {"1h", 3600000}};
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        assert_int_equal(args_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    assert_true(args_duration("", &ms) < 0);
    assert_true(args_duration("s", &ms) < 0);
    assert_true(args_duration("99999999999999999999", &ms) < 0);
    assert_true(args_duration("18446744073709551615h", &ms) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),         cmocka_unit_test(test_values),
        cmocka_unit_test(test_stop_at_first), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_duration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
