/* Output collection, UTF-8, log formats, file headers, hints, error bodies. */
#include "api/collect.h"
#include "api/hint.h"
#include "api/http-file.h"
#include "api/log-format.h"
#include "api/status.h"
#include "base/protocol.h"
#include "base/utf8.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_collect_keeps_all_that_fits(void **state)
{
    struct collect collect;

    (void)state;
    collect_init(&collect, 16);
    assert_int_equal(collect_add(&collect, "12345", 5), 0);
    assert_int_equal(collect_add(&collect, "67890abcdef", 11), 0);
    json_t *text = collect_text(&collect);
    assert_string_equal(json_string_value(text), "1234567890abcdef");
    assert_int_equal(collect_omitted(&collect), 0);
    json_decref(text);
    collect_free(&collect);
}

/* However the bytes are cut into pieces, the ends are the same. */
static void test_collect_keeps_both_ends(void **state)
{
    char bytes[1000];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)('a' + i % 26);
    for (size_t piece = 1; piece <= sizeof(bytes); piece += 7) {
        struct collect collect;
        collect_init(&collect, 64);
        for (size_t at = 0; at < sizeof(bytes); at += piece) {
            size_t left = sizeof(bytes) - at;
            assert_int_equal(collect_add(&collect, bytes + at, left < piece ? left : piece), 0);
        }
        assert_int_equal(collect_omitted(&collect), 1000 - 64);
        json_t *text = collect_text(&collect);
        const char *value = json_string_value(text);
        assert_memory_equal(value, bytes, 32);
        assert_non_null(strstr(value, "\n[... 936 bytes left out ...]\n"));
        assert_memory_equal(value + strlen(value) - 32, bytes + sizeof(bytes) - 32, 32);
        json_decref(text);
        collect_free(&collect);
    }
}

static void test_collect_repairs_text(void **state)
{
    struct collect collect;

    (void)state;
    collect_init(&collect, 64);
    assert_int_equal(collect_add(&collect,
                                 "a\xff"
                                 "b\0c",
                                 5),
                     0);
    json_t *text = collect_text(&collect);
    assert_int_equal(json_string_length(text), 7);
    assert_memory_equal(json_string_value(text),
                        "a\xef\xbf\xbd"
                        "b\0c",
                        7);
    json_decref(text);
    collect_free(&collect);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xbc", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xc0\xaf", false},
        {"\xc1\xbf", false},
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x80\x80\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\x80", false},
        {"\xe2\x82", false},
        {"\xc3(", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(utf8_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
    assert_int_equal(utf8_incomplete_tail("ab\xe2\x82", 4), 2);
    assert_int_equal(utf8_incomplete_tail("ab\xe2\x82\xac", 5), 0);
    assert_int_equal(utf8_incomplete_tail("ab\xff", 3), 0);
    assert_int_equal(utf8_incomplete_tail("\xc3", 1), 1);
}

static char *format(struct log_format *log, unsigned int channel, const char *data)
{
    char *text = NULL;
    size_t length = 0;

    assert_int_equal(log_format(log, channel, data, strlen(data), &text, &length), 0);
    if (text && (text = realloc(text, length + 1)))
        text[length] = 0;
    return text;
}

static void expect_line(struct log_format *log, unsigned int channel, const char *data,
                        const char *wanted)
{
    char *text = format(log, channel, data);

    if (wanted)
        assert_string_equal(text, wanted);
    else
        assert_null(text);
    free(text);
}

static void test_log_lines(void **state)
{
    struct log_format log = {.lines = true};

    (void)state;
    expect_line(&log, STREAM_CONTROL, "{\"type\":\"offset\",\"next\":7}", NULL);
    expect_line(&log, STREAM_STDOUT, "a\xc3",
                "{\"offset\":7,\"channel\":\"stdout\",\"text\":\"a\"}\n");
    expect_line(&log, STREAM_STDOUT, "\xbc!",
                "{\"offset\":8,\"channel\":\"stdout\",\"text\":\"\xc3\xbc!\"}\n");
    expect_line(&log, STREAM_CONTROL, "{\"type\":\"gap\",\"bytes\":100}", "{\"gap\":100}\n");
    expect_line(&log, STREAM_STDERR, "e",
                "{\"offset\":111,\"channel\":\"stderr\",\"text\":\"e\"}\n");
    expect_line(&log, STREAM_CONTROL, "{\"type\":\"restart\"}", "{\"restart\":true}\n");
    expect_line(&log, STREAM_CONTROL, "not JSON", NULL);
    expect_line(&log, 77, "unknown channel", NULL);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *header;
        int result;
        uint64_t first, last;
    } cases[] = {
        {"bytes=0-0", 0, 0, 0},
        {"bytes=10-", 0, 10, 99},
        {"bytes=-10", 0, 90, 99},
        {"bytes=-200", 0, 0, 99},
        {"bytes=50-5000", 0, 50, 99},
        {"bytes=99-", 0, 99, 99},
        {"bytes=100-", -ERANGE, 0, 0},
        {"bytes=-0", -ERANGE, 0, 0},
        {"bytes=5-1", -ENOENT, 0, 0},
        {"bytes=-", -ENOENT, 0, 0},
        {"bytes=0-1,5-6", -ENOENT, 0, 0},
        {"lines=1-2", -ENOENT, 0, 0},
        {"bytes=99999999999999999999999-", -ENOENT, 0, 0},
        {"bytes=1-2x", -ENOENT, 0, 0},
        {"bytes= 1-2", -ENOENT, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t first = 0, last = 0;
        assert_int_equal(range_parse(cases[i].header, 100, &first, &last), cases[i].result);
        assert_int_equal(first, cases[i].first);
        assert_int_equal(last, cases[i].last);
    }
    uint64_t first, last;
    assert_int_equal(range_parse("bytes=0-", 0, &first, &last), -ERANGE);
}

static void test_etags(void **state)
{
    const struct file_version version = {.inode = 1, .mtime_ns = 255, .size = 16};
    struct file_version read;
    char etag[ETAG_SIZE], date[32];

    (void)state;
    etag_format(&version, etag);
    assert_string_equal(etag, "\"1-ff-10\"");
    assert_true(etag_listed("\"x\", \"1-ff-10\"", etag));
    assert_true(etag_listed("W/\"1-ff-10\"", etag));
    assert_true(etag_listed("*", etag));
    assert_false(etag_listed("\"1-ff-1\"", etag));
    assert_false(etag_listed("1-ff-10", etag));
    assert_false(etag_listed("", etag));
    json_t *stat = json_pack("{s:i,s:i,s:i}", "inode", 1, "mtime_ns", 255, "size", -16);
    assert_int_equal(file_version_of(stat, &read), -EPROTO);
    json_decref(stat);
    http_date(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void test_hint(void **state)
{
    (void)state;
    assert_true(hint_is_network_failure("npm error code EAI_AGAIN\nnpm error"));
    assert_true(hint_is_network_failure("curl: (6) Could not resolve host: x"));
    assert_false(hint_is_network_failure("SyntaxError: Unexpected token"));
}

static void test_status(void **state)
{
    static const struct {
        int err;
        const char *code;
        unsigned int status;
    } cases[] = {
        {EINVAL, "invalid_field", 400},
        {EACCES, "unauthenticated", 401},
        {EACCES, "forbidden", 403},
        {EXDEV, "path_outside_project", 403},
        {ENOENT, "sandbox_not_found", 404},
        {EBUSY, "wrong_state", 409},
        {EBUSY, "precondition_failed", 412},
        {EFBIG, "body_too_large", 413},
        {EACCES, "rate_limited", 429},
        {EIO, "whatever", 500},
        {EAGAIN, "supervisor_unavailable", 503},
        {ETIMEDOUT, "timeout", 504},
        {ENOSPC, "no_space", 507},
        {ENOENT, "exec_failed", 400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = ERROR_NONE;
        error_set_code(&err, cases[i].err, cases[i].code, "m");
        assert_int_equal(status_of_error(&err), cases[i].status);
    }
    struct error err = ERROR_NONE;
    error_set_field(&err, "limits.cpu", "no");
    json_t *body = status_error_body(&err);
    const char *code, *message, *field;
    assert_int_equal(json_unpack(body, "{s:{s:s,s:s,s:{s:s}}}", "error", "code", &code, "message",
                                 &message, "detail", "field", &field),
                     0);
    assert_string_equal(code, "invalid_field");
    assert_string_equal(field, "limits.cpu");
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collect_keeps_all_that_fits),
        cmocka_unit_test(test_collect_keeps_both_ends),
        cmocka_unit_test(test_collect_repairs_text),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_etags),
        cmocka_unit_test(test_hint),
        cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
