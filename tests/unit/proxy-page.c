/* Pages: whatever a sandbox says is text, never markup. */
#include "proxy/page.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char memory[BUFFER_SIZE + 1];

static struct buffer fresh(void)
{
    memset(memory, 0, sizeof(memory));
    return (struct buffer){.data = memory};
}

static void escaping(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"plain", "plain"},
        {"<script>alert('x')&\"", "&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;"},
        {"a\nb\tc", "a\nb\tc"},
        {"\x1b[31mred\r\x07", "[31mred"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff", "\xef\xbf\xbd"},
        {"\xc3<b>", "\xef\xbf\xbd&lt;b&gt;"},
        {"\xe2\x82<", "\xef\xbf\xbd\xef\xbf\xbd&lt;"},
        {"\xf0\x9f", "\xef\xbf\xbd\xef\xbf\xbd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer out = fresh();
        assert_int_equal(page_escape(&out, cases[i].text), 0);
        assert_string_equal(memory, cases[i].expected);
    }
}

static void escaping_is_bounded(void **state)
{
    static char text[BUFFER_SIZE];
    struct buffer out = fresh();

    (void)state;
    memset(text, '<', sizeof(text) - 1);
    assert_int_equal(page_escape(&out, text), -ENOSPC);
}

static const uint16_t ports[] = {3000};

static const struct page hostile = {
    .status = 502,
    .code = "crashed",
    .title = "T<i>",
    .message = "M</p><script>",
    .lines = "L</pre><script>alert(1)</script>",
    .poll = "/.auracode/status",
    .ports = ports,
    .n_ports = 1,
    .port_prefix = "http://\"><script>",
    .port_suffix = "-x",
};

static void html(void **state)
{
    struct buffer out = fresh();

    (void)state;
    assert_int_equal(page_write_html(&out, &hostile, false, true), 0);
    const char *body = strstr(memory, "\r\n\r\n");
    assert_non_null(body);
    body += 4;
    const char *length = strstr(memory, "Content-Length: ");
    assert_non_null(length);
    assert_int_equal(strtoul(length + 16, NULL, 10), strlen(body));
    assert_non_null(strstr(memory, "default-src 'none'"));
    assert_non_null(strstr(memory, "no-store"));
    assert_null(strstr(body, "<script>"));
    assert_null(strstr(body, "<i>T"));
    assert_non_null(strstr(body, "L&lt;/pre&gt;"));
    assert_non_null(strstr(body, ">3000</a>"));
}

static void nonces_differ(void **state)
{
    char first[33];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct buffer out = fresh();
        assert_int_equal(page_write_html(&out, &hostile, true, true), 0);
        const char *nonce = strstr(memory, "'nonce-");
        assert_non_null(nonce);
        if (i == 1)
            assert_memory_not_equal(first, nonce + 7, 32);
        memcpy(first, nonce + 7, 32);
    }
}

static void json(void **state)
{
    struct buffer out = fresh();
    struct page page = {
        .status = 404, .code = "sandbox_not_found", .message = "a \"b\"", .retry_after = 1};

    (void)state;
    assert_int_equal(page_write_json(&out, &page, false, false), 0);
    assert_non_null(strstr(memory, "HTTP/1.1 404 Not Found\r\n"));
    assert_non_null(strstr(memory, "Retry-After: 1\r\n"));
    assert_non_null(strstr(memory, "Connection: close\r\n"));
    assert_non_null(
        strstr(memory, "{\"error\":{\"code\":\"sandbox_not_found\",\"message\":\"a \\\"b\\\"\"}}"));
    out = fresh();
    assert_int_equal(page_write_json(&out, &page, true, true), 0);
    assert_null(strstr(memory, "error"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escaping), cmocka_unit_test(escaping_is_bounded),
        cmocka_unit_test(html),     cmocka_unit_test(nonces_differ),
        cmocka_unit_test(json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
