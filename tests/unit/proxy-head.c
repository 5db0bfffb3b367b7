/* Heads that two parsers could read in two ways are refused: a table of the known shapes. */
#include "proxy/head.h"

#include "proxy/chunked.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END  "\r\n"

struct shape {
    const char *text;
    size_t length;
    int status; /* 0: accepted */
};

#define SHAPE(text, status)                                                                        \
    {                                                                                              \
        text, sizeof(text) - 1, status                                                             \
    }

static const struct shape requests[] = {
    /* accepted */
    SHAPE(GET HOST END, 0),
    SHAPE(GET "host:a" END END, 0),
    SHAPE(GET "Host: \t a \t " END END, 0),
    SHAPE("GET / HTTP/1.0\r\n" END, 0),
    SHAPE("GET http://b/c HTTP/1.1\r\n" HOST END, 0),
    SHAPE("OPTIONS * HTTP/1.1\r\n" HOST END, 0),
    SHAPE(POST HOST "Content-Length: 0" END END, 0),
    SHAPE(POST HOST "Content-Length: 12" END END, 0),
    SHAPE(POST HOST "Transfer-Encoding: chunked" END END, 0),
    SHAPE(POST HOST "Transfer-Encoding: Chunked" END END, 0),
    SHAPE(GET HOST "X: \xc3\xa4\xff" END END, 0),
    SHAPE(GET HOST "Empty:" END END, 0),
    SHAPE(GET HOST "Connection: Upgrade\r\nUpgrade: websocket" END END, 0),
    SHAPE(GET HOST "Connection: close, keep-alive" END END, 0),
    /* two framings */
    SHAPE(POST HOST "Content-Length: 3\r\nTransfer-Encoding: chunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 3" END END, 400),
    SHAPE(POST HOST "Content-Length: 3\r\nContent-Length: 4" END END, 400),
    SHAPE(POST HOST "Content-Length: 3\r\nContent-Length: 3" END END, 400),
    SHAPE(POST HOST "Content-Length: 3, 3" END END, 400),
    SHAPE(POST HOST "Content-Length: 3, 4" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity" END END, 400),
    /* lengths that are no number */
    SHAPE(POST HOST "Content-Length:" END END, 400),
    SHAPE(POST HOST "Content-Length: +3" END END, 400),
    SHAPE(POST HOST "Content-Length: -1" END END, 400),
    SHAPE(POST HOST "Content-Length: 0x3" END END, 400),
    SHAPE(POST HOST "Content-Length: 3 " END "Content-length: 3" END END, 400),
    SHAPE(POST HOST "Content-Length: 3 3" END END, 400),
    SHAPE(POST HOST "Content-Length: 3;" END END, 400),
    SHAPE(POST HOST "Content-Length: 3.0" END END, 400),
    SHAPE(POST HOST "Content-Length: 1e3" END END, 400),
    SHAPE(POST HOST "Content-Length: \"3\"" END END, 400),
    SHAPE(POST HOST "Content-Length: 18446744073709551616" END END, 400),
    SHAPE(POST HOST "Content-Length: 9223372036854775808" END END, 400),
    SHAPE(POST HOST "Content-Length: 3\v" END END, 400),
    SHAPE(POST HOST "Content-Length: \x0c"
                    "3" END END,
          400),
    /* transfer codings other than one plain chunked */
    SHAPE(POST HOST "Transfer-Encoding: gzip" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: gzip, chunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunked, gzip" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunked, chunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunked;x=1" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: identity" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding:" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: xchunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: chunkedx" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: 'chunked'" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: ,chunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding: \x0b"
                    "chunked" END END,
          400),
    SHAPE(POST HOST "Transfer-Encoding: chunked\x00" END END, 400),
    SHAPE("POST / HTTP/1.0\r\nTransfer-Encoding: chunked" END END, 400),
    /* hidden field names */
    SHAPE(POST HOST "Transfer-Encoding : chunked" END END, 400),
    SHAPE(POST HOST "Transfer-Encoding\t: chunked" END END, 400),
    SHAPE(POST HOST "Content-Length : 3" END END, 400),
    SHAPE(POST HOST " Transfer-Encoding: chunked" END END, 400),
    SHAPE(POST HOST "\tContent-Length: 3" END END, 400),
    SHAPE(POST HOST "X: a\r\n Content-Length: 3" END END, 400),
    SHAPE(POST HOST "X: a\r\n\tb" END END, 400),
    SHAPE(POST " " HOST END, 400),
    SHAPE(POST HOST "X: a\nContent-Length: 3" END END, 400),
    SHAPE(POST HOST "X: a\rContent-Length: 3" END END, 400),
    SHAPE(POST HOST "X: a\r\rContent-Length: 3" END END, 400),
    SHAPE(POST HOST "X\r: a" END END, 400),
    SHAPE(POST HOST "X\n: a" END END, 400),
    SHAPE(POST HOST ": a" END END, 400),
    SHAPE(POST HOST "X" END END, 400),
    SHAPE(POST HOST "X y: a" END END, 400),
    SHAPE(POST HOST "X\x00y: a" END END, 400),
    SHAPE(POST HOST "\"X\": a" END END, 400),
    SHAPE(POST HOST "(X): a" END END, 400),
    SHAPE(POST HOST "X\x7f: a" END END, 400),
    SHAPE(POST HOST "\xc3\xa4: a" END END, 400),
    SHAPE(POST HOST "Content\xe2\x80\x90Length: 3" END END, 400),
    /* values */
    SHAPE(GET HOST "X: a\x00"
                   "b" END END,
          400),
    SHAPE(GET HOST "X: a\x01" END END, 400),
    SHAPE(GET HOST "X: a\x1b[0m" END END, 400),
    SHAPE(GET HOST "X: a\x7f" END END, 400),
    SHAPE(GET HOST "X: \x08" END END, 400),
    /* Host */
    SHAPE(GET END, 400),
    SHAPE(GET HOST HOST END, 400),
    SHAPE(GET HOST "Host: b" END END, 400),
    SHAPE("GET / HTTP/1.0\r\n" HOST "Host: b" END END, 400),
    SHAPE(GET "Host:" END END, 400),
    SHAPE(GET "Host: a b" END END, 400),
    SHAPE(GET "Host: a,b" END END, 400),
    SHAPE(GET "Host: a/b" END END, 400),
    SHAPE(GET "Host: u@a" END END, 400),
    SHAPE(GET "Host: a:x" END END, 400),
    SHAPE(GET "Host: a:99999" END END, 400),
    SHAPE(GET "Host: [::1" END END, 400),
    SHAPE(GET "Host: http://a" END END, 400),
    SHAPE(GET "Host: a?b" END END, 400),
    SHAPE(GET "Host: a%00" END END, 400),
    /* request line */
    SHAPE("GET  / HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET /  HTTP/1.1\r\n" HOST END, 400),
    SHAPE(" GET / HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET\t/ HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET / HTTP/1.1 \r\n" HOST END, 400),
    SHAPE("GET / a HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET /\r\n" HOST END, 400),
    SHAPE("GET /\r\n\r\n", 400),
    SHAPE("GET HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET / HTTP/1.1\n" HOST END, 400),
    SHAPE("GET / HTTP/1.1\r" HOST END, 400),
    SHAPE("GET /\x00 HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET /\x01 HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET /\xc3\xa4 HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET /#f HTTP/1.1\r\n" HOST END, 400),
    SHAPE("GET / http/1.1\r\n" HOST END, 400),
    SHAPE("GET / HTTP/1.1x\r\n" HOST END, 400),
    SHAPE("GET / HTTP/11\r\n" HOST END, 400),
    SHAPE("GET / HTTP/1.\r\n" HOST END, 400),
    SHAPE("G@T / HTTP/1.1\r\n" HOST END, 400),
    SHAPE("get / HTTP/1.1\r\n" HOST END, 501),
    SHAPE("NOSUCH / HTTP/1.1\r\n" HOST END, 501),
    SHAPE("GET / HTTP/0.9\r\n" HOST END, 505),
    SHAPE("GET / HTTP/1.2\r\n" HOST END, 505),
    SHAPE("GET / HTTP/2.0\r\n" HOST END, 505),
    SHAPE("GET / HTTP/3.0\r\n" HOST END, 505),
    SHAPE("PRI * HTTP/2.0\r\n" END, 505),
    SHAPE("CONNECT a:80 HTTP/1.1\r\n" HOST END, 405),
    SHAPE("TRACE / HTTP/1.1\r\n" HOST END, 405),
};

static void request_shapes(void **state)
{
    static struct head head;
    struct head_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const struct shape *shape = &requests[i];
        error.status = 0;
        head_parse_request((struct text){shape->text, shape->length}, &head, &error);
        if (error.status != shape->status)
            print_error("%s\n", shape->text);
        assert_int_equal(error.status, shape->status);
    }
}

#define OK200 "HTTP/1.1 200 OK\r\n"

static void response_shapes(void **state)
{
    static const struct shape responses[] = {
        SHAPE(OK200 END, 0),
        SHAPE("HTTP/1.1 200 \r\n" END, 0),
        SHAPE("HTTP/1.1 200\r\n" END, 0),
        SHAPE("HTTP/1.0 200 OK\r\n" END, 0),
        SHAPE(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" END,
            0),
        SHAPE(OK200 "Content-Length: 5" END END, 0),
        SHAPE(OK200 "Transfer-Encoding: chunked" END END, 0),
        SHAPE(OK200 "Content-Length: 5\r\nTransfer-Encoding: chunked" END END, 400),
        SHAPE(OK200 "Content-Length: 5\r\nContent-Length: 6" END END, 400),
        SHAPE(OK200 "Transfer-Encoding: gzip, chunked" END END, 400),
        SHAPE(OK200 "X: a\rSet-Cookie: b" END END, 400),
        SHAPE(OK200 "X: a\nSet-Cookie: b" END END, 400),
        SHAPE(OK200 "X: a\x00" END END, 400),
        SHAPE(OK200 "X : a" END END, 400),
        SHAPE(OK200 " X: a" END END, 400),
        SHAPE("HTTP/1.1 200 O\x01K\r\n" END, 400),
        SHAPE("HTTP/1.1 2x0 OK\r\n" END, 400),
        SHAPE("HTTP/1.1 99 OK\r\n" END, 400),
        SHAPE("HTTP/1.1 099 OK\r\n" END, 400),
        SHAPE("HTTP/1.1 600 OK\r\n" END, 400),
        SHAPE("HTTP/1.1 2000 OK\r\n" END, 400),
        SHAPE("HTTP/1.1  200 OK\r\n" END, 400),
        SHAPE("HTTP/2 200 OK\r\n" END, 400),
        SHAPE("ICY 200 OK\r\n" END, 400),
        SHAPE("<html>\r\n" END, 400),
        SHAPE("SSH-2.0-OpenSSH\r\n" END, 400),
    };
    static struct head head;
    struct head_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        const struct shape *shape = &responses[i];
        int r = head_parse_response((struct text){shape->text, shape->length}, &head, &error);
        if ((r < 0) != (shape->status != 0))
            print_error("%s\n", shape->text);
        assert_int_equal(r, shape->status ? -EPROTO : 0);
    }
}

static void too_many_fields(void **state)
{
    static struct head head;
    static char text[8192];
    struct head_error error;
    size_t n = (size_t)snprintf(text, sizeof(text), GET HOST);

    (void)state;
    for (size_t i = 1; i <= FIELDS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "X-%zu: 1\r\n", i);
    n += (size_t)snprintf(text + n, sizeof(text) - n, END);
    assert_int_equal(head_parse_request((struct text){text, n}, &head, &error), -EPROTO);
    assert_int_equal(error.status, 431);
}

static void lengths(void **state)
{
    static char text[HEAD_MAX + 1];

    (void)state;
    assert_int_equal(head_length(GET, sizeof(GET) - 1, 0), 0);
    assert_int_equal(head_length(GET HOST END "body", sizeof(GET HOST END "body") - 1, 0),
                     sizeof(GET HOST END) - 1);
    /* The empty line may come in any two pieces. */
    for (size_t seen = 0; seen < sizeof(GET HOST END) - 1; seen++)
        assert_int_equal(head_length(GET HOST END, sizeof(GET HOST END) - 1, seen),
                         sizeof(GET HOST END) - 1);
    assert_int_equal(head_length("GET /\n\n", 7, 0), 7);
    memset(text, 'a', sizeof(text));
    assert_int_equal(head_length(text, HEAD_MAX - 1, 0), 0);
    assert_int_equal(head_length(text, HEAD_MAX, 0), -EMSGSIZE);
}

static void framing_and_connection(void **state)
{
    static struct head head;
    struct head_error error;
    struct text text = TEXT(POST HOST "Content-Length: 77\r\nConnection: Close, X-a" END END);

    (void)state;
    assert_int_equal(head_parse_request(text, &head, &error), 0);
    assert_int_equal(head.body, BODY_LENGTH);
    assert_int_equal(head.content_length, 77);
    assert_false(head.keep_alive);
    assert_true(head_nominated(&head, TEXT("x-A")));
    assert_false(head_nominated(&head, TEXT("x")));
    text = TEXT(GET HOST "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket" END END);
    assert_int_equal(head_parse_request(text, &head, &error), 0);
    assert_true(head.upgrade && head.keep_alive);
    text = TEXT(GET HOST "Connection: Upgrade\r\nUpgrade: h2c" END END);
    assert_int_equal(head_parse_request(text, &head, &error), 0);
    assert_false(head.upgrade);
}

/* Decodes in pieces of `step` bytes into `ret_body`; the last event or -EPROTO. */
static int decode(struct text input, size_t step, char *ret_body)
{
    struct chunked chunked = {.state = 0};
    size_t at = 0, end = 0, out = 0;

    while (at < input.length || end < input.length) {
        struct text piece = {"", 0};
        size_t taken = 0;
        end = end + step < input.length ? end + step : input.length;
        int r = CHUNKED_DATA;
        while (r == CHUNKED_DATA && at < end) {
            r = chunked_step(&chunked, (struct text){input.data + at, end - at}, &taken, &piece);
            if (r < 0 || r == CHUNKED_END || r == CHUNKED_TRAILERS)
                return r;
            at += taken;
            if (r == CHUNKED_DATA) {
                memcpy(ret_body + out, piece.data, piece.length);
                out += piece.length;
                ret_body[out] = '\0';
            }
        }
        if (end == input.length)
            break;
    }
    return CHUNKED_MORE;
}

static void chunked_bodies(void **state)
{
    static const struct {
        struct text text;
        int expected;
    } cases[] = {
        {TEXT("3\r\nabc\r\n0\r\n\r\n"), CHUNKED_END},
        {TEXT("1\r\na\r\n02;x=\"y\"\r\nbc\r\n000\r\n\r\n"), CHUNKED_END},
        {TEXT("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), CHUNKED_TRAILERS},
        {TEXT("3\r\nabc\r\n0\r\n"), CHUNKED_MORE},
        {TEXT("3\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\n0\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabcd\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc0\r\n\r\n"), -EPROTO},
        {TEXT("3 \r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT(" 3\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("+3\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("0x3\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("-3\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT(";x\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("3;a\nb\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("3;a\x00\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("10000000000000003\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("0000000000000003\r\nabc\r\n0\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\n\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\nX : 1\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\nX: 1\n\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\n X: 1\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\nContent-Length: 1\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), -EPROTO},
        {TEXT("3\r\nabc\r\n0\r\nHost: a\r\n\r\n"), -EPROTO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t step = 1; step <= cases[i].text.length; step++) {
            char body[64] = "";
            int r = decode(cases[i].text, step, body);
            if (r != cases[i].expected)
                print_error("%s by %zu\n", cases[i].text.data, step);
            assert_int_equal(r, cases[i].expected);
            if (r >= 0)
                assert_string_equal(body, "abc");
        }
}

static void chunk_lines_are_bounded(void **state)
{
    char text[1024], body[8];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = '3';
    text[1] = ';';
    assert_int_equal(decode((struct text){text, sizeof(text)}, sizeof(text), body), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_shapes),          cmocka_unit_test(response_shapes),
        cmocka_unit_test(too_many_fields),         cmocka_unit_test(lengths),
        cmocka_unit_test(framing_and_connection),  cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(chunk_lines_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
