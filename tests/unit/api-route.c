/* Routes and the targets that they are matched against. */
#include "api/route.h"
#include "api/uri.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void match(const char *method, const char *target, struct uri *uri,
                  struct route_match *found)
{
    assert_int_equal(uri_parse(target, uri, NULL), 0);
    route_match(routes, n_routes, method_parse(method), uri->segments, uri->n_segments, found);
}

static void test_finds_and_captures(void **state)
{
    static const struct {
        const char *method, *target, *pattern, *first, *second;
    } cases[] = {
        {"GET", "/healthz", "/healthz", NULL, NULL},
        {"GET", "/v1/sandboxes?limit=1", "/v1/sandboxes", NULL, NULL},
        {"HEAD", "/v1/sandboxes/abc/files?path=x", "/v1/sandboxes/{id}/files", "abc", NULL},
        {"DELETE", "/v1/sandboxes/abc/processes/12", "/v1/sandboxes/{id}/processes/{process_id}",
         "abc", "12"},
        {"GET", "/v1/sandboxes/a%2Fb", "/v1/sandboxes/{id}", "a/b", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct uri uri;
        struct route_match found;
        match(cases[i].method, cases[i].target, &uri, &found);
        assert_non_null(found.route);
        assert_string_equal(found.route->pattern, cases[i].pattern);
        if (cases[i].first)
            assert_string_equal(found.captures[0], cases[i].first);
        else
            assert_null(found.captures[0]);
        if (cases[i].second)
            assert_string_equal(found.captures[1], cases[i].second);
        uri_free(&uri);
    }
}

/* What changes nothing by itself and leaves records nevertheless: ways to go on with. */
static void test_audited(void **state)
{
    static const char *const ways[] = {"/", "/v1/sandboxes/{id}/exec",
                                       "/v1/sessions/{session_id}/ws"};

    (void)state;
    for (size_t i = 0; i < n_routes; i++) {
        bool expected = routes[i].method != METHOD_GET;
        for (size_t j = 0; j < sizeof(ways) / sizeof(ways[0]); j++)
            expected = expected || strcmp(routes[i].pattern, ways[j]) == 0;
        if (route_is_audited(&routes[i]) != expected)
            fail_msg("%s %s", method_name(routes[i].method), routes[i].pattern);
    }
}

static void test_unknown_paths(void **state)
{
    static const char *const targets[] = {"/",
                                          "/v1",
                                          "/v1/",
                                          "/v1/sandboxes/",
                                          "//v1/sandboxes",
                                          "/v1/sandboxes/a/b/c/d/e/f/g/h/i",
                                          "/V1/sandboxes",
                                          "/v1/sandboxes/x/exec/"};

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct uri uri;
        struct route_match found;
        match("GET", targets[i], &uri, &found);
        assert_null(found.route);
        assert_int_equal(found.allowed, 0);
        uri_free(&uri);
    }
}

static void test_wrong_method(void **state)
{
    struct uri uri;
    struct route_match found;
    char list[64];

    (void)state;
    match("PUT", "/v1/sandboxes", &uri, &found);
    assert_null(found.route);
    method_list(found.allowed, list, sizeof(list));
    assert_string_equal(list, "GET, HEAD, POST");
    uri_free(&uri);
    match("BREW", "/healthz", &uri, &found);
    assert_null(found.route);
    uri_free(&uri);
}

static void test_query(void **state)
{
    struct uri uri;

    (void)state;
    assert_int_equal(uri_parse("/x?a=1&b=%C3%BC+y&c&a=2", &uri, NULL), 0);
    assert_string_equal(uri_query(&uri, "a"), "1");
    assert_string_equal(uri_query(&uri, "b"), "\xc3\xbc y");
    assert_string_equal(uri_query(&uri, "c"), "");
    assert_null(uri_query(&uri, "d"));
    uri_free(&uri);
}

static void test_refused_targets(void **state)
{
    static const char *const targets[] = {"",        "x",       "*",         "/a%",
                                          "/a%2",    "/a%zz",   "/a%00b",    "/?p=%00",
                                          "/?p=%ff", "/%c0%af", "/%ed%a0%80"};

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct uri uri;
        assert_int_equal(uri_parse(targets[i], &uri, NULL), -EINVAL);
    }
}

/* Every route can be reached: none is hidden by one before it. */
static void test_no_route_is_hidden(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_routes; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(routes[i].method == routes[j].method &&
                         strcmp(routes[i].pattern, routes[j].pattern) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_and_captures),
        cmocka_unit_test(test_audited),
        cmocka_unit_test(test_unknown_paths),
        cmocka_unit_test(test_wrong_method),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_refused_targets),
        cmocka_unit_test(test_no_route_is_hidden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
