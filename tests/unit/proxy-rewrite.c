/* What the dev server and the browser get to see of each other. */
#include "proxy/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "abcdefgh2345"

static const struct target host_target = {.id = ID};
static const struct target path_target = {.id = ID, .port = 5173, .path_prefix = 20};

static struct exchange_names names_of(const struct target *target, struct text authority)
{
    return (struct exchange_names){.authority = authority,
                                   .domain = TEXT("localhost"),
                                   .target = target,
                                   .port = 5173,
                                   .client = "10.1.2.3"};
}

static char *request(struct text text, const struct target *target, struct text authority)
{
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;
    struct exchange_names names = names_of(target, authority);

    assert_int_equal(head_parse_request(text, &head, &error), 0);
    assert_int_equal(rewrite_request(&out, &head, TEXT("/x"), &names), 0);
    memory[out.length] = '\0';
    return memory;
}

static char *response(struct text text, const struct target *target, struct text authority)
{
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;
    struct exchange_names names = names_of(target, authority);
    struct response_form form = {.keep_alive = true};

    assert_int_equal(head_parse_response(text, &head, &error), 0);
    assert_int_equal(rewrite_response(&out, &head, &form, &names), 0);
    memory[out.length] = '\0';
    return memory;
}

#define AUTHORITY TEXT(ID ".localhost:7080")

static void whole_request(void **state)
{
    struct text text =
        TEXT("GET /x HTTP/1.1\r\nHost: " ID ".localhost:7080\r\nX-Forwarded-For: 6.6.6.6\r\n"
             "X-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n"
             "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
             "Proxy-Authorization: s\r\nTE: trailers\r\nUpgrade: h2c\r\nCookie: a=b\r\n"
             "Content-Length: 2\r\n\r\n");

    (void)state;
    assert_string_equal(request(text, &host_target, AUTHORITY),
                        "GET /x HTTP/1.1\r\nHost: localhost:5173\r\nCookie: a=b\r\n"
                        "X-Forwarded-Host: " ID ".localhost:7080\r\nX-Forwarded-Proto: http\r\n"
                        "X-Forwarded-For: 10.1.2.3\r\n"
                        "Forwarded: for=\"10.1.2.3\";host=\"" ID ".localhost:7080\";proto=http\r\n"
                        "Content-Length: 2\r\n\r\n");
}

static void upgrade(void **state)
{
    struct text text =
        TEXT("GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Key: k\r\nOrigin: https://" ID ".localhost:7080\r\n\r\n");

    (void)state;
    const char *out = request(text, &host_target, AUTHORITY);
    assert_non_null(strstr(out, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert_non_null(strstr(out, "\r\nOrigin: http://localhost:5173\r\n"));
    assert_non_null(strstr(out, "\r\nSec-WebSocket-Key: k\r\n"));
}

static void nominated_fields_do_not_reframe(void **state)
{
    struct text text = TEXT("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                            "Connection: Content-Length, Host\r\n\r\n");

    (void)state;
    const char *out = request(text, &host_target, AUTHORITY);
    assert_non_null(strstr(out, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(out, "\r\nHost: localhost:5173\r\n"));
}

static void public_urls_become_local(void **state)
{
    static const struct {
        const char *field, *expected;
        const struct target *target;
        struct text authority;
    } cases[] = {
        {"Origin: http://" ID ".localhost:7080", "Origin: http://localhost:5173", &host_target,
         AUTHORITY},
        {"Origin: http://3000-" ID ".localhost:7080", "Origin: http://localhost:3000", &host_target,
         AUTHORITY},
        {"Referer: http://" ID ".localhost:7080/a?b", "Referer: http://localhost:5173/a?b",
         &host_target, AUTHORITY},
        {"Referer: http://" ID ".localhost:7080", "Referer: http://localhost:5173/", &host_target,
         AUTHORITY},
        {"Origin: http://bbbbbbbbbbbb.localhost:7080", "Origin: http://bbbbbbbbbbbb.localhost:7080",
         &host_target, AUTHORITY},
        {"Origin: https://example.org", "Origin: https://example.org", &host_target, AUTHORITY},
        {"Origin: null", "Origin: null", &host_target, AUTHORITY},
        {"Referer: http://127.0.0.1:7080/p/" ID "/3000/a", "Referer: http://localhost:3000/a",
         &path_target, TEXT("127.0.0.1:7080")},
        {"Referer: http://127.0.0.1:7080/p/bbbbbbbbbbbb/3000/secret",
         "Referer: http://localhost:5173/", &path_target, TEXT("127.0.0.1:7080")},
        {"Origin: http://127.0.0.1:7080", "Origin: http://localhost:5173", &path_target,
         TEXT("127.0.0.1:7080")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], expected[256];
        int n =
            snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", cases[i].field);
        snprintf(expected, sizeof(expected), "\r\n%s\r\n", cases[i].expected);
        const char *out =
            request((struct text){text, (size_t)n}, cases[i].target, cases[i].authority);
        if (!strstr(out, expected))
            print_error("%s\n%s", expected, out);
        assert_non_null(strstr(out, expected));
    }
}

static void local_urls_become_public(void **state)
{
    static const struct {
        const char *field, *expected;
        const struct target *target;
        struct text authority;
    } cases[] = {
        {"Location: http://localhost:5173/a", "Location: http://" ID ".localhost:7080/a",
         &host_target, AUTHORITY},
        {"Location: http://127.0.0.1:5173/", "Location: http://" ID ".localhost:7080/",
         &host_target, AUTHORITY},
        {"Location: http://[::1]:3000/a", "Location: http://3000-" ID ".localhost:7080/a",
         &host_target, AUTHORITY},
        {"Location: /a", "Location: /a", &host_target, AUTHORITY},
        {"Location: https://example.org/", "Location: https://example.org/", &host_target,
         AUTHORITY},
        {"Location: http://localhost.example.org/", "Location: http://localhost.example.org/",
         &host_target, AUTHORITY},
        {"Location: http://localhost:5173@example.org/",
         "Location: http://localhost:5173@example.org/", &host_target, AUTHORITY},
        {"Location: http://localhost:5173/a", "Location: http://127.0.0.1:7080/p/" ID "/5173/a",
         &path_target, TEXT("127.0.0.1:7080")},
        {"Location: /a", "Location: /p/" ID "/5173/a", &path_target, TEXT("127.0.0.1:7080")},
        {"Location: //example.org", "Location: //example.org", &path_target,
         TEXT("127.0.0.1:7080")},
        {"Access-Control-Allow-Origin: http://localhost:3000",
         "Access-Control-Allow-Origin: http://3000-" ID ".localhost:7080", &host_target, AUTHORITY},
        {"Access-Control-Allow-Origin: *", "Access-Control-Allow-Origin: *", &host_target,
         AUTHORITY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], expected[256];
        int n = snprintf(text, sizeof(text), "HTTP/1.1 302 Found\r\n%s\r\n\r\n", cases[i].field);
        snprintf(expected, sizeof(expected), "\r\n%s\r\n", cases[i].expected);
        const char *out =
            response((struct text){text, (size_t)n}, cases[i].target, cases[i].authority);
        if (!strstr(out, expected))
            print_error("%s\n%s", expected, out);
        assert_non_null(strstr(out, expected));
    }
}

static void response_hop_fields(void **state)
{
    struct text text =
        TEXT("HTTP/1.1 200 Fine\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"
             "Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nVary: a\r\n\r\n");

    (void)state;
    assert_string_equal(response(text, &host_target, AUTHORITY),
                        "HTTP/1.1 200 Fine\r\nVary: a\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_request),
        cmocka_unit_test(upgrade),
        cmocka_unit_test(nominated_fields_do_not_reframe),
        cmocka_unit_test(public_urls_become_local),
        cmocka_unit_test(local_urls_become_public),
        cmocka_unit_test(response_hop_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
