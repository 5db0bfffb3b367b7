/* What the supervisor says of the end of a sandbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "supervisor/cause.h"
#include "supervisor/cgroup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define MIB ((int64_t)1 << 20)

static const char *text_of(const struct sandbox_cause *cause, const char *member)
{
    return json_string_value(json_object_get(cause->detail, member));
}

static void the_end_of_an_init(void **state)
{
    static const struct {
        int code, status;
        int64_t seen, oom_kills;
        const char *word, *sender, *text;
    } cases[] = {
        {CLD_KILLED, SIGKILL, 0, 0, "signal", "host", "by SIGKILL from the host"},
        {CLD_KILLED, SIGKILL, 3, 3, "signal", "host", "by SIGKILL from the host"},
        {CLD_KILLED, SIGKILL, 3, 4, "oom", "kernel", "out of memory (peak 63 MiB of 64 MiB)"},
        {CLD_KILLED, SIGKILL, 0, -1, "signal", "unknown", "by SIGKILL"}, /* no counter to be had */
        {CLD_DUMPED, SIGSEGV, 0, 1, "signal", "unknown", "by SIGSEGV"},
        {CLD_EXITED, 1, 0, 1, "exited", NULL, "exited with code 1"},
    };
    struct sandbox_cause cause = {.word = NULL};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct cgroup_stats stats = {.oom_kills = cases[i].oom_kills,
                                     .memory_peak_bytes = 63 * MIB,
                                     .memory_limit_bytes = 64 * MIB};
        cause_set_init_end(&cause, cases[i].code, cases[i].status, cases[i].seen, &stats);
        assert_string_equal(cause.word, cases[i].word);
        assert_non_null(strstr(cause.text, cases[i].text));
        if (cases[i].sender)
            assert_string_equal(text_of(&cause, "sender"), cases[i].sender);
        else
            assert_null(text_of(&cause, "sender"));
    }
    cause_clear(&cause);
    assert_null(cause.word);
}

static void a_start_that_failed(void **state)
{
    struct sandbox_cause cause = {.word = NULL};
    struct error err = ERROR_NONE;

    (void)state;
    error_sys(&err, ENOENT, "open `x`");
    cause_set_start_error(&cause, &err);
    assert_string_equal(cause.word, "start_failed");
    assert_string_equal(text_of(&cause, "code"), "not_found");
    error_sys(&err, EDQUOT, "mkdir `data`");
    cause_set_start_error(&cause, &err);
    assert_string_equal(cause.word, "disk_full");
    assert_non_null(strstr(cause.text, "mkdir `data`"));
    cause_clear(&cause);
}

static void an_end_unseen_names_no_reason(void **state)
{
    struct sandbox_cause cause = {.word = NULL};
    struct cgroup_stats stats = {.oom_kills = -1};

    (void)state;
    cause_set_lost(&cause, "ended unseen", &stats);
    assert_string_equal(cause.text, "ended unseen");
    stats.oom_kills = 2;
    cause_set_lost(&cause, "ended unseen", &stats);
    assert_string_equal(cause.word, "lost");
    assert_non_null(strstr(cause.text, "killed 2 of its processes"));
    cause_clear(&cause);
}

static void it_survives_the_file(void **state)
{
    struct sandbox_cause cause = {.word = NULL}, read = {.word = NULL};
    char longer[400];

    (void)state;
    /* Clipped in the middle of a character: still a JSON string. */
    memset(longer, 'a', sizeof(longer));
    memcpy(longer + 254, "\xc3\xa4", 2);
    longer[sizeof(longer) - 1] = '\0';
    cause_set(&cause, CAUSE_START, json_pack("{s:s}", "code", "x"), "%s", longer);
    cleanup_json json_t *file = cause_to_json(&cause);
    assert_non_null(file);
    cause_from_json(&read, file);
    assert_string_equal(read.word, "start_failed");
    assert_int_equal(strlen(read.text), 254);
    assert_string_equal(text_of(&read, "code"), "x");

    cause_clear(&cause);
    cleanup_json json_t *none = cause_to_json(&cause);
    assert_true(json_is_null(json_object_get(none, "cause")));
    cause_from_json(&read, none);
    assert_null(read.word);
    cleanup_json json_t *strange = json_pack("{s:s, s:i}", "cause", "sorcery", "cause_text", 1);
    cause_from_json(&read, strange);
    assert_null(read.word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_an_init),
        cmocka_unit_test(a_start_that_failed),
        cmocka_unit_test(an_end_unseen_names_no_reason),
        cmocka_unit_test(it_survives_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
