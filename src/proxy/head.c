/* Theory of operation: the head is first read by our own strict scanner (only CRLF ends a line, no
 * folding, no space before a colon, no control bytes, one framing) and then by llhttp; both must
 * accept it and agree on version and framing. So an oddity that one of them lets through is caught
 * by the other. Only what the scanner understood is ever written on, in a spelling of our own. */
#include "proxy/head.h"

#include "base/preview-token.h"

#include <errno.h>
#include <llhttp.h>
#include <string.h>

static const struct {
    struct text name;
    enum field_name id;
} known_fields[] = {
    {TEXT("accept"), NAME_ACCEPT},
    {TEXT("accept-encoding"), NAME_ACCEPT_ENCODING},
    {TEXT("access-control-allow-origin"), NAME_ALLOW_ORIGIN},
    {TEXT("timing-allow-origin"), NAME_ALLOW_ORIGIN},
    {TEXT("access-control-request-headers"), NAME_REQUEST_HEADERS},
    {TEXT("access-control-request-method"), NAME_REQUEST_METHOD},
    {TEXT("authorization"), NAME_AUTHORIZATION},
    {TEXT("clear-site-data"), NAME_SITE_WIDE},
    {TEXT("service-worker-allowed"), NAME_SITE_WIDE},
    {TEXT("connection"), NAME_CONNECTION},
    {TEXT("content-digest"), NAME_VALIDATOR},
    {TEXT("content-encoding"), NAME_CONTENT_ENCODING},
    {TEXT("content-length"), NAME_CONTENT_LENGTH},
    {TEXT("content-md5"), NAME_VALIDATOR},
    {TEXT("content-security-policy"), NAME_CSP},
    {TEXT("content-security-policy-report-only"), NAME_CSP_REPORT_ONLY},
    {TEXT("content-type"), NAME_CONTENT_TYPE},
    {TEXT("cookie"), NAME_COOKIE},
    {TEXT("date"), NAME_DATE},
    {TEXT("digest"), NAME_VALIDATOR},
    {TEXT("etag"), NAME_VALIDATOR},
    {TEXT("forwarded"), NAME_FORWARDED},
    {TEXT("x-forwarded-for"), NAME_FORWARDED},
    {TEXT("x-forwarded-host"), NAME_FORWARDED},
    {TEXT("x-forwarded-port"), NAME_FORWARDED},
    {TEXT("x-forwarded-prefix"), NAME_FORWARDED},
    {TEXT("x-forwarded-proto"), NAME_FORWARDED},
    {TEXT("x-forwarded-scheme"), NAME_FORWARDED},
    {TEXT("x-forwarded-server"), NAME_FORWARDED},
    {TEXT("x-forwarded-ssl"), NAME_FORWARDED},
    {TEXT("x-original-host"), NAME_FORWARDED},
    {TEXT("x-real-ip"), NAME_FORWARDED},
    {TEXT("x-frame-options"), NAME_FRAME_OPTIONS},
    {TEXT("alt-svc"), NAME_HOP},
    {TEXT("http2-settings"), NAME_HOP},
    {TEXT("if-modified-since"), NAME_CONDITION},
    {TEXT("if-none-match"), NAME_CONDITION},
    {TEXT("keep-alive"), NAME_HOP},
    {TEXT("last-modified"), NAME_VALIDATOR},
    {TEXT("proxy-authenticate"), NAME_HOP},
    {TEXT("proxy-authorization"), NAME_HOP},
    {TEXT("proxy-connection"), NAME_HOP},
    {TEXT("te"), NAME_HOP},
    {TEXT("host"), NAME_HOST},
    {TEXT("content-location"), NAME_LOCATION},
    {TEXT("location"), NAME_LOCATION},
    {TEXT("origin"), NAME_ORIGIN},
    {TEXT(PREVIEW_TOKEN_HEADER), NAME_PREVIEW_TOKEN},
    {TEXT("referer"), NAME_REFERER},
    {TEXT("refresh"), NAME_REFRESH},
    {TEXT("repr-digest"), NAME_VALIDATOR},
    {TEXT("sec-fetch-dest"), NAME_FETCH_DEST},
    {TEXT("sec-fetch-mode"), NAME_FETCH_MODE},
    {TEXT("set-cookie"), NAME_SET_COOKIE},
    {TEXT("strict-transport-security"), NAME_HSTS},
    {TEXT("transfer-encoding"), NAME_TRANSFER_ENCODING},
    {TEXT("upgrade"), NAME_UPGRADE},
};

static enum field_name find_name(struct text name)
{
    for (size_t i = 0; i < sizeof(known_fields) / sizeof(known_fields[0]); i++)
        if (known_fields[i].name.length == name.length && text_is_case(known_fields[i].name, name))
            return known_fields[i].id;
    return NAME_OTHER;
}

static int refuse(struct head_error *error, int status, const char *code, const char *message)
{
    *error = (struct head_error){status, code, message};
    return -EPROTO;
}

static int malformed(struct head_error *error, const char *message)
{
    return refuse(error, 400, "bad_request", message);
}

/* tchar of RFC 9110. */
static bool is_token_char(unsigned char c)
{
    static const uint32_t set[4] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

    return c < 128 && (set[c >> 5] >> (c & 31) & 1);
}

bool head_is_token(struct text text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_token_char((unsigned char)text.data[i]))
            return false;
    return text.length > 0;
}

bool head_is_value(struct text text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

int head_length(const char *text, size_t length, size_t seen)
{
    /* An empty line behind a bare LF ends the search too: the peer waits for its refusal. */
    size_t from = seen > 2 ? seen - 2 : 0;
    const char *at = text + from, *end = text + length;
    size_t n = 0;

    while (n == 0 && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if (end - at >= 1 && at[0] == '\n')
            n = (size_t)(at + 1 - text);
        else if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            n = (size_t)(at + 2 - text);
    }

    if (n > HEAD_MAX || (n == 0 && length >= HEAD_MAX))
        return -EMSGSIZE;
    return (int)n;
}

/* Takes one line without its CRLF off the text; false if it does not end so. */
static bool take_line(struct text *text, struct text *ret_line)
{
    const char *end = memchr(text->data, '\n', text->length);

    if (!end || end == text->data || end[-1] != '\r')
        return false;
    *ret_line = (struct text){text->data, (size_t)(end - 1 - text->data)};
    text->length -= (size_t)(end + 1 - text->data);
    text->data = end + 1;
    return true;
}

static int parse_field(struct text line, struct head_field *ret_field, struct head_error *error)
{
    const char *colon = memchr(line.data, ':', line.length);

    if (text_is_space(line.data[0]))
        return malformed(error, "A header line is folded.");
    if (!colon)
        return malformed(error, "A header line has no colon.");
    ret_field->name = (struct text){line.data, (size_t)(colon - line.data)};
    ret_field->value =
        text_trim((struct text){colon + 1, line.length - ret_field->name.length - 1});
    if (!head_is_token(ret_field->name))
        return malformed(error, "A header name holds a character that is not allowed.");
    if (!head_is_value(ret_field->value))
        return malformed(error, "A header value holds a control character.");
    ret_field->id = find_name(ret_field->name);
    return 0;
}

static int parse_fields(struct text text, struct head *head, struct head_error *error)
{
    struct text line;

    for (;;) {
        if (!take_line(&text, &line))
            return malformed(error, "A header line does not end with CR LF.");
        if (line.length == 0)
            return text.length == 0 ? 0 : malformed(error, "There is text behind the header.");
        if (head->n_fields == FIELDS_MAX)
            return refuse(error, 431, "header_too_large", "There are too many header fields.");
        int r = parse_field(line, &head->fields[head->n_fields++], error);
        if (r < 0)
            return r;
    }
}

bool list_holds(struct text list, struct text token)
{
    while (list.length > 0) {
        const char *comma = memchr(list.data, ',', list.length);
        size_t n = comma ? (size_t)(comma - list.data) : list.length;
        if (text_is_case(text_trim((struct text){list.data, n}), token))
            return true;
        n += comma ? 1 : 0;
        list = (struct text){list.data + n, list.length - n};
    }
    return false;
}

static bool connection_holds(const struct head *head, struct text token)
{
    for (size_t i = 0; i < head->n_fields; i++)
        if (head->fields[i].id == NAME_CONNECTION && list_holds(head->fields[i].value, token))
            return true;
    return false;
}

bool head_nominated(const struct head *head, struct text name)
{
    return connection_holds(head, name);
}

struct text head_get(const struct head *head, enum field_name name)
{
    for (size_t i = 0; i < head->n_fields; i++)
        if (head->fields[i].id == name)
            return head->fields[i].value;
    return (struct text){"", 0};
}

static size_t count(const struct head *head, enum field_name name)
{
    size_t n = 0;

    for (size_t i = 0; i < head->n_fields; i++)
        n += head->fields[i].id == name;
    return n;
}

static int parse_length(struct text value, uint64_t *ret_length)
{
    uint64_t length = 0;

    if (value.length == 0 || value.length > 18)
        return -EPROTO;
    for (size_t i = 0; i < value.length; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -EPROTO;
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    *ret_length = length;
    return 0;
}

static int find_framing(struct head *head, struct head_error *error)
{
    size_t lengths = count(head, NAME_CONTENT_LENGTH);
    size_t codings = count(head, NAME_TRANSFER_ENCODING);

    if (lengths > 0 && codings > 0)
        return malformed(error, "Content-Length and Transfer-Encoding exclude each other.");
    if (lengths > 1 || codings > 1)
        return malformed(error, "The length of the body is given more than once.");
    if (lengths && parse_length(head_get(head, NAME_CONTENT_LENGTH), &head->content_length) < 0)
        return malformed(error, "Content-Length is no number.");
    if (codings && !text_is_case(head_get(head, NAME_TRANSFER_ENCODING), TEXT("chunked")))
        return malformed(error, "The only transfer coding understood is chunked.");
    if (codings && head->minor == 0)
        return malformed(error, "HTTP/1.0 has no transfer coding.");
    head->body = codings ? BODY_CHUNKED : lengths ? BODY_LENGTH : BODY_NONE;
    return 0;
}

static void find_connection(struct head *head)
{
    head->keep_alive = head->minor == 1 ? !connection_holds(head, TEXT("close"))
                                        : connection_holds(head, TEXT("keep-alive")) &&
                                              !connection_holds(head, TEXT("close"));
    head->upgrade = head->minor == 1 && connection_holds(head, TEXT("upgrade")) &&
                    count(head, NAME_UPGRADE) == 1 &&
                    text_is_case(head_get(head, NAME_UPGRADE), TEXT("websocket"));
}

static int parse_version(struct text text, struct head *head, struct head_error *error)
{
    if (text.length != 8 || memcmp(text.data, "HTTP/", 5) != 0 || text.data[6] != '.')
        return malformed(error, "The request line does not end with an HTTP version.");
    if (text.data[5] != '1' || (text.data[7] != '0' && text.data[7] != '1'))
        return refuse(error, 505, "version_not_supported",
                      "Only HTTP/1.0 and HTTP/1.1 are spoken.");
    head->minor = text.data[7] - '0';
    return 0;
}

static bool is_target(struct text text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    }
    return text.length > 0;
}

static int parse_request_line(struct text line, struct head *head, struct head_error *error)
{
    const char *first = memchr(line.data, ' ', line.length);
    const char *last = memrchr(line.data, ' ', line.length);

    if (!first || first == last)
        return malformed(error, "The request line is not `METHOD TARGET VERSION`.");
    head->method = (struct text){line.data, (size_t)(first - line.data)};
    head->target = (struct text){first + 1, (size_t)(last - first - 1)};
    int r = parse_version((struct text){last + 1, line.length - (size_t)(last + 1 - line.data)},
                          head, error);
    if (r < 0)
        return r;
    if (!head_is_token(head->method))
        return malformed(error, "The method is no token.");
    if (text_is(head->method, TEXT("CONNECT")) || text_is(head->method, TEXT("TRACE")))
        return refuse(error, 405, "method_not_allowed", "CONNECT and TRACE are not proxied.");
    if (head->target.length > TARGET_MAX)
        return refuse(error, 414, "target_too_long", "The request target is too long.");
    if (!is_target(head->target))
        return malformed(error, "The request target holds a character that is not allowed.");
    return 0;
}

struct opinion {
    bool complete;
    int minor, status;
    enum head_body body;
    uint64_t content_length;
};

static int stop_at_headers(llhttp_t *parser)
{
    struct opinion *opinion = parser->data;

    opinion->complete = true;
    opinion->minor = parser->http_major == 1 ? parser->http_minor : -1;
    opinion->status = parser->status_code;
    opinion->content_length = parser->content_length;
    opinion->body = parser->flags & F_CHUNKED          ? BODY_CHUNKED
                    : parser->flags & F_CONTENT_LENGTH ? BODY_LENGTH
                                                       : BODY_NONE;
    return HPE_PAUSED;
}

static int second_opinion(struct text text, llhttp_type_t type, const struct head *head,
                          struct head_error *error)
{
    static const llhttp_settings_t settings = {.on_headers_complete = stop_at_headers};
    struct opinion opinion = {.complete = false};
    llhttp_t parser;

    llhttp_init(&parser, type, &settings);
    parser.data = &opinion;
    llhttp_errno_t r = llhttp_execute(&parser, text.data, text.length);
    if (r == HPE_INVALID_METHOD)
        return refuse(error, 501, "method_unknown", "The method is not known.");
    if (r != HPE_PAUSED || !opinion.complete)
        return malformed(error, "The header is malformed.");
    if (opinion.minor != head->minor || opinion.status != head->status ||
        opinion.body != head->body ||
        (head->body == BODY_LENGTH && opinion.content_length != head->content_length))
        return malformed(error, "The header can be read in two ways.");
    return 0;
}

static int check_host(struct head *head, struct head_error *error)
{
    size_t hosts = count(head, NAME_HOST);

    if (hosts > 1 || (hosts == 0 && head->minor == 1))
        return malformed(error, "A request names its host exactly once.");
    head->host = head_get(head, NAME_HOST);
    if (hosts == 1 && authority_check(head->host) < 0)
        return malformed(error, "Host is no host name with an optional port.");
    return 0;
}

static void head_reset(struct head *head)
{
    memset(head, 0, offsetof(struct head, fields));
    head->n_fields = 0;
}

int head_parse_request(struct text text, struct head *ret_head, struct head_error *ret_error)
{
    struct text rest = text, line;

    head_reset(ret_head);
    if (!take_line(&rest, &line))
        return malformed(ret_error, "The request line does not end with CR LF.");
    int r = parse_request_line(line, ret_head, ret_error);
    if (r == 0)
        r = parse_fields(rest, ret_head, ret_error);
    if (r == 0)
        r = find_framing(ret_head, ret_error);
    if (r == 0)
        r = check_host(ret_head, ret_error);
    if (r == 0)
        r = second_opinion(text, HTTP_REQUEST, ret_head, ret_error);
    if (r == 0)
        find_connection(ret_head);
    return r;
}

static int parse_status_line(struct text line, struct head *head, struct head_error *error)
{
    if (line.length < 12 || line.data[8] != ' ' || (line.length > 12 && line.data[12] != ' '))
        return malformed(error, "The status line is malformed.");
    for (size_t i = 9; i < 12; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return malformed(error, "The status is no number.");
        head->status = head->status * 10 + (line.data[i] - '0');
    }
    if (head->status < 100 || head->status > 599)
        return malformed(error, "The status is out of range.");
    if (line.length > 13)
        head->reason = (struct text){line.data + 13, line.length - 13};
    if (!head_is_value(head->reason))
        return malformed(error, "The reason phrase holds a control character.");
    return parse_version((struct text){line.data, 8}, head, error);
}

int head_parse_response(struct text text, struct head *ret_head, struct head_error *ret_error)
{
    struct text rest = text, line;

    head_reset(ret_head);
    if (!take_line(&rest, &line))
        return malformed(ret_error, "The status line does not end with CR LF.");
    int r = parse_status_line(line, ret_head, ret_error);
    if (r == 0)
        r = parse_fields(rest, ret_head, ret_error);
    if (r == 0)
        r = find_framing(ret_head, ret_error);
    if (r == 0)
        r = second_opinion(text, HTTP_RESPONSE, ret_head, ret_error);
    if (r == 0)
        find_connection(ret_head);
    return r;
}

int trailers_check(struct text text)
{
    struct head_error error;
    struct head_field field;
    struct text line;

    while (take_line(&text, &line)) {
        if (line.length == 0)
            return text.length == 0 ? 0 : -EPROTO;
        if (parse_field(line, &field, &error) < 0)
            return -EPROTO;
        if (field.id != NAME_OTHER)
            return -EPROTO;
    }
    return -EPROTO;
}
