/* What the dev server and the browser get to see of each other. */
#include "proxy/forwarded.h"
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
                        "Via: 1.1 auracode\r\n"
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
    struct text text = TEXT(
        "HTTP/1.1 200 Fine\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"
        "Keep-Alive: timeout=5\r\nAlt-Svc: h3=\":1\"\r\nTransfer-Encoding: chunked\r\nVary: a\r\n"
        "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n");

    (void)state;
    assert_string_equal(
        response(text, &host_target, AUTHORITY),
        "HTTP/1.1 200 Fine\r\nVary: a\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n");
}

static void undated_responses_get_a_date(void **state)
{
    (void)state;
    assert_non_null(
        strstr(response(TEXT("HTTP/1.1 200 Fine\r\n\r\n"), &host_target, AUTHORITY), "\r\nDate: "));
    assert_null(strstr(response(TEXT("HTTP/1.1 103 Early\r\n\r\n"), &host_target, AUTHORITY),
                       "\r\nDate: "));
}

/* A response's field under given names; NULL: it is left out. */
static void check_field(const struct exchange_names *names, const char *field, const char *expected)
{
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct response_form form = {.keep_alive = true};
    struct head_error error;
    char text[512], line[512];

    int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s\r\n\r\n", field);
    assert_int_equal(head_parse_response((struct text){text, (size_t)n}, &head, &error), 0);
    assert_int_equal(rewrite_response(&out, &head, &form, names), 0);
    memory[out.length] = '\0';
    n = snprintf(line, sizeof(line), "\r\n%s\r\n", expected ? expected : "");
    if (expected ? !strstr(memory, line) : strcasestr(memory, field) != NULL)
        fail_msg("%s gave\n%s", field, memory);
}

static void cookies_belong_to_their_preview(void **state)
{
    static const struct {
        const char *given, *host_http, *host_plain, *path;
    } cases[] = {
        {"a=b", "a=b", "a=b", "a=b"},
        {"a=b; Domain=localhost; Path=/", "a=b; Path=/", "a=b; Path=/",
         "a=b; Path=/p/" ID "/5173/"},
        {"a=b;domain=.localhost;path=/x", "a=b;path=/x", "a=b;path=/x",
         "a=b; Path=/p/" ID "/5173/x"},
        {"a=b; DOMAIN", "a=b", "a=b", "a=b"},
        {"a=b; Domain=preview.example; Secure; HttpOnly", "a=b; Secure; HttpOnly", "a=b; HttpOnly",
         "a=b; Secure; HttpOnly"},
        {"a=b; SameSite=None; Secure; Partitioned", "a=b; SameSite=None; Secure; Partitioned",
         "a=b", "a=b; SameSite=None; Secure; Partitioned"},
        {"a=b; SameSite=Lax; Max-Age=5", "a=b; SameSite=Lax; Max-Age=5",
         "a=b; SameSite=Lax; Max-Age=5", "a=b; SameSite=Lax; Max-Age=5"},
        {"a=b; Path=", "a=b; Path=", "a=b; Path=", "a=b; Path="},
        {"a=Domain=x; Path", "a=Domain=x; Path", "a=Domain=x; Path", "a=Domain=x; Path"},
        {";;Domain=x;", ";;", ";;", ";;"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange_names plain = names_of(&host_target, TEXT(ID ".preview.lan:7080"));
        struct exchange_names host = names_of(&host_target, AUTHORITY);
        struct exchange_names path = names_of(&path_target, TEXT("127.0.0.1:7080"));
        const char *wanted[] = {cases[i].host_http, cases[i].host_plain, cases[i].path,
                                cases[i].host_http};
        struct exchange_names secure = plain;
        secure.secure = true;
        const struct exchange_names *all[] = {&host, &plain, &path, &secure};
        for (size_t j = 0; j < 4; j++) {
            char given[256], expected[256];
            snprintf(given, sizeof(given), "Set-Cookie: %s", cases[i].given);
            snprintf(expected, sizeof(expected), "Set-Cookie: %s", wanted[j]);
            check_field(all[j], given, expected);
        }
    }
}

/* The origin that the browser gave, the port asked, the dev server's answer, the browser's. */
static void allowed_origins_match_the_browsers(void **state)
{
    static const struct {
        const char *origin;
        uint16_t port;
        const char *answer, *expected;
    } cases[] = {
        {"http://" ID ".localhost:7080", 3001, "http://localhost:5173",
         "http://" ID ".localhost:7080"},
        {"http://5173-" ID ".localhost:7080", 3001, "http://localhost:5173",
         "http://5173-" ID ".localhost:7080"},
        {"http://3001-" ID ".localhost:7080", 5173, "http://localhost:3001",
         "http://3001-" ID ".localhost:7080"},
        {"https://" ID ".localhost", 3001, "http://localhost:5173", "https://" ID ".localhost"},
        {"http://" ID ".localhost:7080", 3001, "*", "*"},
        {"http://" ID ".localhost:7080", 3001, "http://localhost:5174",
         "http://5174-" ID ".localhost:7080"},
        {"http://localhost:3000", 3001, "http://localhost:3000", "http://localhost:3000"},
        {"http://bbbbbbbbbbbb.localhost:7080", 3001, "http://localhost:5173",
         "http://localhost:5173"},
        {"null", 3001, "null", "null"},
        {"", 3001, "http://localhost:5173", "http://" ID ".localhost:7080"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange_names names = names_of(&host_target, TEXT("3001-" ID ".localhost:7080"));
        char given[256], expected[256];
        names.port = cases[i].port;
        names.service_port = 5173;
        names.origin = origin_of((struct text){cases[i].origin, strlen(cases[i].origin)}, &names);
        snprintf(given, sizeof(given), "Access-Control-Allow-Origin: %s", cases[i].answer);
        snprintf(expected, sizeof(expected), "Access-Control-Allow-Origin: %s", cases[i].expected);
        check_field(&names, given, expected);
    }
}

static void other_fields(void **state)
{
    struct exchange_names host = names_of(&host_target, AUTHORITY);
    struct exchange_names path = names_of(&path_target, TEXT("127.0.0.1:7080"));
    struct exchange_names secure = host;

    (void)state;
    secure.secure = true;
    check_field(&host, "Refresh: 5; url=http://localhost:5173/a",
                "Refresh: 5; url=http://" ID ".localhost:7080/a");
    check_field(&host, "Refresh: 0;URL='http://localhost:5173/a'",
                "Refresh: 0;URL='http://" ID ".localhost:7080/a'");
    check_field(&host, "Refresh: 5", "Refresh: 5");
    check_field(&host, "Refresh: 5; url=", "Refresh: 5; url=");
    check_field(&path, "Refresh: 1; url=/x", "Refresh: 1; url=/p/" ID "/5173/x");
    check_field(&host, "Content-Location: http://localhost:5173/a",
                "Content-Location: http://" ID ".localhost:7080/a");
    check_field(&secure, "Location: http://localhost:5173/a",
                "Location: https://" ID ".localhost:7080/a");
    check_field(&secure, "Location: https://localhost:5173/a",
                "Location: https://" ID ".localhost:7080/a");
    check_field(&path, "Location: http://127.0.0.1:7080/login",
                "Location: http://127.0.0.1:7080/p/" ID "/5173/login");
    check_field(&path, "Location: /p/" ID "/5173/x", "Location: /p/" ID "/5173/x");
    check_field(&path, "Location: /\\example.org", "Location: /\\example.org");
    check_field(&host, "Service-Worker-Allowed: /", "Service-Worker-Allowed: /");
    check_field(&path, "Service-Worker-Allowed: /", NULL);
    check_field(&path, "Clear-Site-Data: \"*\"", NULL);
}

/* What a proxy in front tells, and by which name the browser is then known. */
static void forwarded_names(void **state)
{
    static const struct {
        const char *host, *fields, *authority;
        bool secure;
    } cases[] = {
        {ID ".example.org", "X-Forwarded-Proto: https\r\n", ID ".example.org", true},
        {ID ".example.org", "X-Forwarded-Host: " ID ".example.org:8443\r\n", ID ".example.org:8443",
         false},
        {ID ".example.org", "X-Forwarded-Port: 8443\r\nX-Forwarded-Proto: https\r\n",
         ID ".example.org:8443", true},
        {ID ".example.org", "X-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\n",
         ID ".example.org", true},
        {ID ".example.org", "X-Forwarded-Host: bbbbbbbbbbbb.example.org\r\n", ID ".example.org",
         false},
        {"127.0.0.1:7080", "X-Forwarded-Host: " ID ".example.org, inner\r\n", ID ".example.org",
         false},
        {"127.0.0.1:7080", "X-Forwarded-Host: a b\r\n", "127.0.0.1:7080", false},
        {"127.0.0.1:7080", "X-Forwarded-Host: a\r\nX-Forwarded-Host: b\r\n", "127.0.0.1:7080",
         false},
    };
    static struct head head;
    struct head_error error;
    struct forwarded forwarded;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], authority[AUTHORITY_MAX + 1];
        int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", cases[i].host,
                         cases[i].fields);
        assert_int_equal(head_parse_request((struct text){text, (size_t)n}, &head, &error), 0);
        forwarded_read(&head, &forwarded);
        size_t length = forwarded_authority(&forwarded, head.host, TEXT("example.org"), authority);
        assert_int_equal(length, strlen(cases[i].authority));
        assert_memory_equal(authority, cases[i].authority, length);
        assert_int_equal(forwarded.secure, cases[i].secure);
    }
}

static void addresses_are_told_on(void **state)
{
    struct exchange_names names = names_of(&path_target, TEXT("127.0.0.1:7080"));
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;

    (void)state;
    names.forwarded_for = TEXT("2001:db8::1, 192.0.2.1");
    names.secure = true;
    assert_int_equal(head_parse_request(TEXT("GET / HTTP/1.0\r\n\r\n"), &head, &error), 0);
    assert_int_equal(rewrite_request(&out, &head, TEXT("/"), &names), 0);
    memory[out.length] = '\0';
    assert_string_equal(memory,
                        "GET / HTTP/1.1\r\nHost: localhost:5173\r\n"
                        "X-Forwarded-Host: 127.0.0.1:7080\r\nX-Forwarded-Proto: https\r\n"
                        "X-Forwarded-For: 2001:db8::1, 192.0.2.1, 10.1.2.3\r\n"
                        "X-Forwarded-Prefix: /p/" ID "/5173\r\n"
                        "Forwarded: for=\"[2001:db8::1]\";host=\"127.0.0.1:7080\";proto=https\r\n"
                        "Via: 1.0 auracode\r\n\r\n");
}

/* A dev server that serves below the prefix names it itself. */
static void a_kept_prefix_stays_one(void **state)
{
    struct exchange_names names = names_of(&path_target, TEXT("127.0.0.1:7080"));
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;
    struct text text = TEXT("GET / HTTP/1.1\r\nHost: a\r\n"
                            "Referer: http://127.0.0.1:7080/p/" ID "/5173/a\r\n\r\n");

    (void)state;
    names.keeps_prefix = true;
    assert_int_equal(head_parse_request(text, &head, &error), 0);
    assert_int_equal(rewrite_request(&out, &head, TEXT("/p/" ID "/5173/"), &names), 0);
    memory[out.length] = '\0';
    assert_non_null(strstr(memory, "Referer: http://localhost:5173/p/" ID "/5173/a\r\n"));
    assert_null(strstr(memory, "X-Forwarded-Prefix"));
    check_field(&names, "Set-Cookie: a=b; Path=/p/" ID "/5173/x",
                "Set-Cookie: a=b; Path=/p/" ID "/5173/x");
    check_field(&names, "Set-Cookie: a=b; Path=/p/bbbbbbbbbbbb/5173/x",
                "Set-Cookie: a=b; Path=/p/" ID "/5173/p/bbbbbbbbbbbb/5173/x");
    check_field(&names, "Location: /p/" ID "/5173/x", "Location: /p/" ID "/5173/x");
}

static void frames_are_the_configurations(void **state)
{
    static const struct {
        const char *given, *ours;
    } cases[] = {
        {"frame-ancestors 'none'", ""},
        {"default-src 'self'; Frame-Ancestors 'none'; img-src *", "default-src 'self'; img-src *"},
        {"frame-ancestors\t'none';a b,  frame-ancestors x, c d", "a b,, c d"},
        {"frame-ancestors, frame-src x", ", frame-src x"},
        {"frame-ancestors-x y; x frame-ancestors", "frame-ancestors-x y; x frame-ancestors"},
        {";;,", ";;,"},
    };
    static const char ours[] = "Content-Security-Policy: frame-ancestors 'self' https://chat.lan";
    struct exchange_names theirs = names_of(&host_target, AUTHORITY);
    struct exchange_names names = theirs;

    (void)state;
    names.frame_origins = TEXT("https://chat.lan");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char given[256], expected[256];
        snprintf(given, sizeof(given), "Content-Security-Policy: %s", cases[i].given);
        snprintf(expected, sizeof(expected), "Content-Security-Policy: %s", cases[i].ours);
        check_field(&theirs, given, given);
        check_field(&names, given, expected);
        check_field(&names, given, ours);
    }
    check_field(&names, "X-Frame-Options: DENY", NULL);
    check_field(&theirs, "X-Frame-Options: DENY", "X-Frame-Options: DENY");
    check_field(&names, "Content-Security-Policy-Report-Only: frame-ancestors 'none'",
                "Content-Security-Policy-Report-Only: frame-ancestors 'none'");
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
        cmocka_unit_test(undated_responses_get_a_date),
        cmocka_unit_test(cookies_belong_to_their_preview),
        cmocka_unit_test(allowed_origins_match_the_browsers),
        cmocka_unit_test(other_fields),
        cmocka_unit_test(frames_are_the_configurations),
        cmocka_unit_test(forwarded_names),
        cmocka_unit_test(addresses_are_told_on),
        cmocka_unit_test(a_kept_prefix_stays_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
