/* The ration of frames that do nothing: bursts of a browser pass, floods do not. */
#include "proxy/h2-budget.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* How many such frames pass at once. */
static unsigned int burst(uint8_t type, uint64_t length)
{
    struct h2_budget budget;
    unsigned int n = 0;

    h2_budget_init(&budget, 1000);
    while (n < 100000 && h2_budget_frame(&budget, 1000, type, length, false))
        n++;
    return n;
}

static void floods_are_bounded(void **state)
{
    (void)state;
    assert_in_range(burst(NGHTTP2_RST_STREAM, 4), 100, 1000); /* a page that is left resets 100 */
    assert_in_range(burst(NGHTTP2_PING, 8), 100, 1000);
    assert_in_range(burst(NGHTTP2_SETTINGS, 0), 100, 1000);
    assert_in_range(burst(NGHTTP2_DATA, 0), 100, 1000);
    assert_in_range(burst(NGHTTP2_CONTINUATION, 16384), 10, 100);
    assert_in_range(burst(NGHTTP2_WINDOW_UPDATE, 4), 1000, 5000);
}

static void data_and_time_pay(void **state)
{
    struct h2_budget budget;
    int64_t now = 0;

    (void)state;
    assert_int_equal(burst(NGHTTP2_DATA, 1), 100000);
    h2_budget_init(&budget, now);
    for (int i = 0; i < 100000; i++) /* a download with an update for each frame */
        assert_true(h2_budget_frame(&budget, now, NGHTTP2_DATA, 16384, false) &&
                    h2_budget_frame(&budget, now, NGHTTP2_WINDOW_UPDATE, 4, false));
    for (int i = 0; i < 100000; i++, now += 50) /* 20 pings a second, for ever */
        assert_true(h2_budget_frame(&budget, now, NGHTTP2_PING, 8, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_are_bounded),
        cmocka_unit_test(data_and_time_pay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
