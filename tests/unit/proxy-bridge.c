/* The bridge: where it goes in a document however that comes in pieces, what policies must say for
 * it, and what is taken of its reports. */
#include "base/browser-report.h"
#include "base/cleanup.h"
#include "proxy/bridge.h"
#include "proxy/client.h"
#include "proxy/csp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TAG "<script></script>"

struct output {
    char text[512];
    size_t length;
};

static void take(struct output *output, const struct text *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_true(output->length + parts[i].length < sizeof(output->text));
        memcpy(output->text + output->length, parts[i].data, parts[i].length);
        output->length += parts[i].length;
    }
    output->text[output->length] = '\0';
}

/* Each piece in memory of its own, so that the sanitizer sees what is read of it later. */
static void feed(struct insertion *insertion, struct output *output, const char *data, size_t n)
{
    struct text parts[INSERTION_PARTS];
    char *piece = malloc(n ? n : 1);

    memcpy(piece, data, n);
    take(output, parts, insertion_take(insertion, (struct text){piece, n}, parts));
    free(piece);
}

static struct insertion fresh(void)
{
    return (struct insertion){.tag = TAG, .tag_length = sizeof(TAG) - 1};
}

/* In two pieces cut at `at`; or, with 0, a byte at a time. */
static void pass(struct text document, size_t at, struct output *output)
{
    struct insertion insertion = fresh();
    struct text parts[INSERTION_PARTS];

    *output = (struct output){.length = 0};
    for (size_t i = 0; at == 0 && i < document.length; i++)
        feed(&insertion, output, document.data + i, 1);
    if (at > 0) {
        feed(&insertion, output, document.data, at);
        feed(&insertion, output, document.data + at, document.length - at);
    }
    take(output, parts, insertion_end(&insertion, parts));
}

static void check_document(struct text document, const char *expected)
{
    struct output output;

    for (size_t at = 0; at <= document.length; at++) {
        pass(document, at, &output);
        assert_string_equal(output.text, expected);
    }
}

/* `|` is where the tag goes. */
static void tag_goes_first(void **state)
{
    static const char *const documents[] = {
        "<head>|<title>x</title></head>",
        "<!doctype html><html lang=\"en\"><head>|\n<meta charset=utf-8>",
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD\" \"x.dtd\"><HTML><HEAD profile='a>b'>|</HEAD>",
        "\n\t <!-- <head> --><html><!-- a --> <head data-x=\"a>'b\" hidden/>|<p>",
        "<html><head/>|<p>",
        "<html><head / a = 'x' b=\"y\"c>|<p>",
        "<html =\"><head>|",
        "<html a='>'b=\">\" c=>|' ><head>'>",
        "<html><head a=b\">|\"",
        "<html><head a='x'\"=\">\">|",
        "<html><head a='x'/>|",
        "<html>|<body>a</body></html>",
        "<html>|</html>",
        "<!doctype html>|<header>",
        "|<headx>",
        "|<hea",
        "|<h1>x</h1>",
        "|<htm><head>",
        "|<htmlx><head>",
        "|text <head>",
        "<!doctype html>\r\n|<script>1</script><head>",
        "<!-->|x<head>-->",
        "<!--->|x<head>-->",
        "<!----><head>|",
        "<!-- --!><head>|",
        "<!-- -- ! --!- --x --><head>|",
        "<!--- a ---><head>|",
        "<!><!-><!-x><?xml version='1.0'?><![CDATA[<head]><html><head>|",
        "|</head>",
        "|<>",
        "|< head>",
        "\xef\xbb\xbf<head>|",
        "\xef\xbb\xbf|a",
        "|\xef\xbb<head>",
        "|\xef",
        "|\xfe<head>",
        "|<",
        " <!-- no end |",
        " \n|",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(documents); i++) {
        char document[256], expected[256];
        const char *mark = strchr(documents[i], '|');
        int before = (int)(mark - documents[i]);
        snprintf(document, sizeof(document), "%.*s%s", before, documents[i], mark + 1);
        snprintf(expected, sizeof(expected), "%.*s" TAG "%s", before, documents[i], mark + 1);
        check_document((struct text){document, strlen(document)}, expected);
    }
}

static void what_is_not_ascii_or_empty_stays(void **state)
{
    struct output output;

    (void)state;
    check_document(TEXT("\xfe\xff<head>"), "\xfe\xff<head>");
    check_document(TEXT("\xff\xfe<head>"), "\xff\xfe<head>");
    pass(TEXT(""), 0, &output);
    assert_int_equal(output.length, 0);
}

/* ---- which documents
 * ------------------------------------------------------------------------------------ */

static void documents_are_what_browsers_open(void **state)
{
    static const struct {
        const char *head;
        bool document;
    } cases[] = {
        {"GET / HTTP/1.1\r\nAccept: text/html,*/*\r\n", true},
        {"POST / HTTP/1.1\r\nAccept: TEXT/HTML\r\n", true},
        {"GET / HTTP/1.1\r\nAccept: */*\r\nSec-Fetch-Dest: document\r\n", true},
        {"GET / HTTP/1.1\r\nSec-Fetch-Dest: iframe\r\n", true},
        {"GET / HTTP/1.1\r\nAccept: text/html\r\nSec-Fetch-Dest: empty\r\n", false},
        {"GET / HTTP/1.1\r\nAccept: text/html\r\nSec-Fetch-Dest: script\r\n", false},
        {"GET / HTTP/1.1\r\nAccept: */*\r\n", false},
        {"GET / HTTP/1.1\r\n", false},
        {"HEAD / HTTP/1.1\r\nAccept: text/html\r\n", false},
        {"GET / HTTP/1.0\r\nAccept: text/html\r\n", false},
        {"GET / HTTP/1.1\r\nAccept: text/html\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
         false},
    };
    static struct head head;
    struct head_error error;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char text[256];
        int n = snprintf(text, sizeof(text), "%sHost: a\r\n\r\n", cases[i].head);
        assert_int_equal(head_parse_request((struct text){text, (size_t)n}, &head, &error), 0);
        assert_int_equal(bridge_is_document(&head), cases[i].document);
    }
}

static void answers_that_it_fits_into(void **state)
{
    static const struct {
        const char *status, *fields, *body;
        int fits;
    } cases[] = {
        {"200 OK", "Content-Type: text/html\r\nContent-Length: 9\r\n", "<p", 1},
        {"404 No", "Content-Type: Text/HTML; charset=utf-8\r\nTransfer-Encoding: chunked\r\n", "",
         1},
        {"500 No", "Content-Type: text/html ;x\r\nContent-Encoding: identity\r\n", "", 1},
        {"200 OK", "Content-Type: text/html\r\nContent-Length: 9\r\n", "<", -EAGAIN},
        {"200 OK", "Content-Type: text/html\r\nContent-Length: 1\r\n", "<", 0},
        {"200 OK", "Content-Type: text/html\r\nContent-Length: 0\r\n", "", 0},
        {"200 OK", "Content-Type: text/html\r\nContent-Length: 9\r\n", "\xfe\xff", 0},
        {"200 OK", "Content-Type: text/html\r\nContent-Length: 9\r\n", "\xff\xfe", 0},
        {"206 Part", "Content-Type: text/html\r\nContent-Length: 9\r\n", "<p", 0},
        {"200 OK", "Content-Type: text/html; charset=UTF-16LE\r\n", "", 0},
        {"200 OK", "Content-Type: text/html\r\nContent-Encoding: gzip\r\n", "", 0},
        {"200 OK", "Content-Type: text/html5\r\n", "", 0},
        {"200 OK", "Content-Type: application/xhtml+xml\r\n", "", 0},
        {"200 OK", "X: text/html\r\n", "", 0},
    };
    static struct head head;
    struct head_error error;
    struct client browser = {.document = true}, program = {.document = false};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char text[256];
        int n =
            snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n%s\r\n", cases[i].status, cases[i].fields);
        struct text body = {cases[i].body, strlen(cases[i].body)};
        assert_int_equal(head_parse_response((struct text){text, (size_t)n}, &head, &error), 0);
        assert_int_equal(bridge_fits(&browser, &head, body), cases[i].fits);
        assert_int_equal(bridge_fits(&program, &head, body), 0);
    }
}

/* ---- heads
 * ---------------------------------------------------------------------------------------------- */

#define URL     "http://x.localhost:7080" BRIDGE_PATH
#define NONCE   "'nonce-0123'"
#define ID      "abcdefgh2345"
#define BRIDGED (&(const struct bridge){.nonce = "0123", .url = URL})

static void policies_have_room_for_it(void **state)
{
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"", ""},
        {"img-src 'self'", "img-src 'self'"},
        {"script-src 'self'", "script-src 'self' " URL},
        {"Script-Src 'none' ; x y", "Script-Src " URL "; x y"},
        {"script-src", "script-src " URL},
        {"script-src 'self' 'unsafe-inline'", "script-src 'self' 'unsafe-inline' " URL},
        {"script-src 'nonce-a' 'strict-dynamic'",
         "script-src 'nonce-a' 'strict-dynamic' " NONCE " " URL},
        {"script-src-elem 'self'; script-src 'none'",
         "script-src-elem 'self' " URL "; script-src 'none'"},
        {"default-src 'none'", "default-src 'none'; script-src " URL "; connect-src " URL},
        {"default-src 'self' https:; connect-src\t'self'",
         "default-src 'self' https:; connect-src 'self' " URL "; script-src 'self' https: " URL},
        {"default-src 'strict-dynamic'; script-src a; script-src b",
         "default-src 'strict-dynamic'; script-src a " URL
         "; script-src b; connect-src 'strict-dynamic' " URL},
        {"script-src a, default-src b,,connect-src c",
         "script-src a " URL ", default-src b; script-src b " URL "; connect-src b " URL
         ",,connect-src c " URL},
        {"x-script-src a; script-src-attr b; script-srcs c",
         "x-script-src a; script-src-attr b; script-srcs c"},
    };
    static char memory[BUFFER_SIZE];
    struct exchange_names without = {.secure = false}, with = {.bridge = BRIDGED};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct buffer out = {.data = memory}, same = {.data = memory + BUFFER_SIZE / 2};
        struct text given = {cases[i].given, strlen(cases[i].given)};
        assert_int_equal(csp_add(&out, given, &with), 0);
        assert_int_equal(out.length, strlen(cases[i].expected));
        assert_memory_equal(memory, cases[i].expected, out.length);
        assert_int_equal(csp_add(&same, given, &without), 0);
        assert_int_equal(same.length, given.length);
        assert_memory_equal(same.data, given.data, given.length);
    }
}

static void reports_of_policies_do_not_name_it(void **state)
{
    static char memory[BUFFER_SIZE];
    static const char expected[] = "frame-ancestors 'none'; script-src a " URL;
    struct buffer out = {.data = memory};
    struct exchange_names names = {.bridge = BRIDGED, .frame_origins = TEXT("https://chat.lan")};

    (void)state;
    assert_int_equal(
        csp_add_report_only(&out, TEXT("frame-ancestors 'none'; script-src a"), &names), 0);
    assert_int_equal(out.length, strlen(expected));
    assert_memory_equal(memory, expected, out.length);
}

static const struct target target = {.id = ID};
static const struct exchange_names plain = {.authority = TEXT(ID ".localhost:7080"),
                                            .domain = TEXT("localhost"),
                                            .target = &target,
                                            .port = 5173,
                                            .client = "10.1.2.3"};

static const char *written_request(const struct exchange_names *names)
{
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;

    assert_int_equal(
        head_parse_request(TEXT("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n"
                                "If-None-Match: \"a\"\r\nIf-Modified-Since: x\r\n\r\n"),
                           &head, &error),
        0);
    assert_int_equal(rewrite_request(&out, &head, TEXT("/"), names), 0);
    memory[out.length] = '\0';
    return memory;
}

static void documents_are_asked_for_whole_and_plain(void **state)
{
    struct exchange_names names = plain;

    (void)state;
    const char *text = written_request(&names);
    assert_non_null(strstr(text, "\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"a\"\r\n"
                                 "If-Modified-Since: x\r\n"));
    assert_null(strstr(text, "identity"));
    names.document = true;
    text = written_request(&names);
    assert_non_null(strstr(text, "\r\nAccept-Encoding: identity\r\n"));
    assert_null(strstr(text, "gzip"));
    assert_null(strstr(text, "If-"));
}

static const char *written_response(const struct exchange_names *names, size_t added)
{
    static struct head head;
    static char memory[BUFFER_SIZE];
    struct buffer out = {.data = memory};
    struct head_error error;
    struct response_form form = {.length = true, .keep_alive = true, .added = added};

    assert_int_equal(
        head_parse_response(TEXT("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nLast-Modified: x\r\n"
                                 "Digest: y\r\nX: z\r\nContent-Length: 10\r\n\r\n"),
                            &head, &error),
        0);
    assert_int_equal(rewrite_response(&out, &head, &form, names), 0);
    memory[out.length] = '\0';
    return memory;
}

static void another_document_has_no_validator_of_the_first(void **state)
{
    struct exchange_names names = plain;

    (void)state;
    const char *text = written_response(&names, 0);
    assert_non_null(strstr(text, "\r\nETag: \"a\"\r\nLast-Modified: x\r\nDigest: y\r\nX: z\r\n"));
    assert_non_null(strstr(text, "\r\nContent-Length: 10\r\n"));
    names.bridge = BRIDGED;
    text = written_response(&names, 90);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\nX: z\r\n"));
    assert_non_null(strstr(text, "\r\nContent-Length: 100\r\n"));
}

/* ---- reports
 * -------------------------------------------------------------------------------------------- */

static void reports_are_checked(void **state)
{
    static const struct {
        const char *body, *problem;
    } cases[] = {
        {"", "The body is no JSON object."},
        {"[]", "The body is no JSON object."},
        {"{\"reports\":[],\"reports\":[]}", "The body is no JSON object."},
        {"{}", "reports"},
        {"{\"reports\":[]}", "reports"},
        {"{\"reports\":[1]}", "expected a JSON object"},
        {"{\"reports\":[{\"message\":\"x\"}]}", "reports.0.kind"},
        {"{\"reports\":[{\"kind\":\"x\",\"message\":\"x\"}]}", "reports.0.kind"},
        {"{\"reports\":[{\"kind\":\"error\"}]}", "reports.0.message"},
        {"{\"reports\":[{\"kind\":\"error\",\"message\":1}]}", "reports.0.message"},
        {"{\"reports\":[{\"kind\":\"error\",\"message\":\"\",\"x\":1}]}", "reports.0.x"},
        {"{\"reports\":[{\"kind\":\"error\",\"message\":\"\",\"line\":-1}]}", "reports.0.line"},
        {"{\"reports\":[{\"kind\":\"error\",\"message\":\"\"},{}]}", "reports.1.kind"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct error err = ERROR_NONE;
        struct text body = {cases[i].body, strlen(cases[i].body)};
        assert_null(reports_read(body, &err));
        assert_true(strcmp(err.message, cases[i].problem) == 0 ||
                    strcmp(err.field, cases[i].problem) == 0);
    }
}

static json_t *read_back(json_t *report)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *value = json_pack("{s:[o]}", "reports", report);
    cleanup_free char *text = json_dumps(value, 0);
    json_t *list = reports_read((struct text){text, strlen(text)}, &err);

    assert_non_null(list);
    return list;
}

static void long_texts_are_cut_and_cleaned(void **state)
{
    char message[REPORT_TEXT_MAX + 3];

    (void)state;
    memset(message, 'a', sizeof(message));
    memcpy(message + REPORT_TEXT_MAX - 1, "\xc3\xa4x", 4);
    message[1] = '\x1b';
    message[2] = '\n';
    cleanup_json json_t *list =
        read_back(json_pack("{s:s, s:s, s:i}", "kind", "error", "message", message, "line", 7));
    const json_t *cut = json_object_get(json_array_get(list, 0), "message");
    assert_int_equal(json_string_length(cut), REPORT_TEXT_MAX - 1);
    assert_memory_equal(json_string_value(cut), "a \na", 4);
}

/* Escapes make twice as much of a text: what is too much as a whole goes without its longest. */
static void the_whole_is_bounded(void **state)
{
    char stack[REPORT_STACK_MAX + 1], text[REPORT_TEXT_MAX + 1];

    (void)state;
    memset(stack, '"', REPORT_STACK_MAX);
    memset(text, '"', REPORT_TEXT_MAX);
    stack[REPORT_STACK_MAX] = text[REPORT_TEXT_MAX] = '\0';
    cleanup_json json_t *list = read_back(json_pack(
        "{s:s, s:s, s:s, s:s}", "kind", "overlay", "message", text, "frame", text, "stack", stack));
    const json_t *report = json_array_get(list, 0);
    assert_null(json_object_get(report, "stack"));
    assert_non_null(json_object_get(report, "message"));
    assert_true(json_dumpb(report, NULL, 0, JSON_COMPACT) <= REPORT_JSON_MAX);
}

static void allowance_is_a_burst(void **state)
{
    _Atomic int64_t bucket = 0;
    unsigned int n = 0;

    (void)state;
    while (n <= REPORTS_BURST + 5 && reports_admit(&bucket))
        n++;
    assert_in_range(n, REPORTS_BURST, REPORTS_BURST + 2);
    assert_true(reports_exhausted(&bucket));
}

static void queue_is_bounded_and_in_order(void **state)
{
    struct reports reports;
    json_t *object = json_object();
    unsigned int n = 0;

    (void)state;
    assert_int_equal(reports_init(&reports), 0);
    while (n <= REPORTS_QUEUED_MAX && reports_put(&reports, ID, (uint16_t)(n + 1), object))
        n++;
    assert_int_equal(n, REPORTS_QUEUED_MAX);
    for (unsigned int i = 0; i < 2; i++) {
        struct report *report = reports_take(&reports);
        assert_int_equal(report->port, i + 1);
        assert_string_equal(report->sandbox, ID);
        report_free(report);
    }
    reports_free(&reports);
    assert_int_equal(object->refcount, 1);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tag_goes_first),
        cmocka_unit_test(what_is_not_ascii_or_empty_stays),
        cmocka_unit_test(documents_are_what_browsers_open),
        cmocka_unit_test(answers_that_it_fits_into),
        cmocka_unit_test(policies_have_room_for_it),
        cmocka_unit_test(reports_of_policies_do_not_name_it),
        cmocka_unit_test(documents_are_asked_for_whole_and_plain),
        cmocka_unit_test(another_document_has_no_validator_of_the_first),
        cmocka_unit_test(reports_are_checked),
        cmocka_unit_test(long_texts_are_cut_and_cleaned),
        cmocka_unit_test(the_whole_is_bounded),
        cmocka_unit_test(allowance_is_a_burst),
        cmocka_unit_test(queue_is_bounded_and_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
