/* What is kept of browsers' errors: the last ones, so many and so much. */
#include "api/events/browser.h"
#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void keep(struct browser_errors **errors, int64_t id, const char *message)
{
    cleanup_json json_t *data = json_pack("{s:s, s:s}", "kind", "error", "message", message);

    browser_errors_keep(errors, id, id * 2, data);
}

static json_int_t id_at(const json_t *list, size_t i)
{
    return json_integer_value(json_object_get(json_array_get(list, i), "id"));
}

/* Ids of the list behind `since`: the first, how many; and whether there is a gap. */
static void check(const struct browser_errors *errors, int64_t since, int64_t first, size_t n,
                  bool gap)
{
    bool is_gap;
    cleanup_json json_t *list = browser_errors_list(errors, since, &is_gap);

    assert_int_equal(json_array_size(list), n);
    assert_int_equal(is_gap, gap);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(id_at(list, i), first + (int64_t)i);
}

static void the_last_are_kept(void **state)
{
    struct browser_errors *errors = NULL;

    (void)state;
    check(errors, 0, 0, 0, false);
    for (int64_t id = 1; id <= BROWSER_ERRORS_KEPT; id++)
        keep(&errors, id, "x");
    check(errors, 0, 1, BROWSER_ERRORS_KEPT, false);
    keep(&errors, BROWSER_ERRORS_KEPT + 1, "x");
    check(errors, 0, 2, BROWSER_ERRORS_KEPT, true);
    check(errors, 1, 2, BROWSER_ERRORS_KEPT, false);
    check(errors, BROWSER_ERRORS_KEPT, BROWSER_ERRORS_KEPT + 1, 1, false);
    browser_errors_clear(errors);
    check(errors, 0, 0, 0, false);
    keep(&errors, 1000, "x");
    check(errors, 0, 1000, 1, false);
    browser_errors_free(errors);
}

static void they_are_as_told(void **state)
{
    struct browser_errors *errors = NULL;
    bool gap;

    (void)state;
    keep(&errors, 7, "told");
    cleanup_json json_t *list = browser_errors_list(errors, 0, &gap);
    cleanup_json json_t *expected = json_pack("[{s:i, s:i, s:s, s:s}]", "id", 7, "timestamp", 14,
                                              "kind", "error", "message", "told");
    assert_true(json_equal(list, expected));
    browser_errors_free(errors);
}

static void large_ones_push_out_more(void **state)
{
    struct browser_errors *errors = NULL;
    char *message = malloc(30001);
    size_t most = BROWSER_BYTES_KEPT / 30000;

    (void)state;
    memset(message, 'x', 30000);
    message[30000] = '\0';
    for (int64_t id = 1; id <= 20; id++)
        keep(&errors, id, message);
    check(errors, 0, 20 - (int64_t)most + 1, most, true);
    browser_errors_free(errors);
    free(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_are_kept),
        cmocka_unit_test(they_are_as_told),
        cmocka_unit_test(large_ones_push_out_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
