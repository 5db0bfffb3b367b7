/* Theory of operation: see h2.h. Names and values are gathered in one piece of memory while the
 * header block comes in, each checked to be what HTTP/1.1 could carry; then the head is written
 * with a request line and a Host of our own. What HTTP/2 forbids (RFC 9113, 8.2 and 8.3) is refused
 * and never repaired. */
#include "proxy/h2.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FIELD_OVERHEAD 32u /* that RFC 9113, 10.5.1 counts for each */
#define KEY_SIZE       16u /* bytes of a WebSocket handshake's nonce */
#define CHUNK_FRAME    32u

struct h2_fields {
    struct text method, scheme, authority, path, protocol, host, length;
    struct head_field list[FIELDS_MAX];
    size_t n, n_cookies;
    size_t size; /* as RFC 9113 counts it */
    size_t used;
    bool trailers;
    char text[HEAD_MAX];
};

/* What an HTTP/2 message must not carry: it is about one hop of HTTP/1.1. */
static const struct text forbidden[] = {TEXT("connection"), TEXT("keep-alive"),
                                        TEXT("proxy-connection"), TEXT("transfer-encoding"),
                                        TEXT("upgrade")};

static struct text keep(struct h2_fields *fields, struct text text)
{
    char *at = fields->text + fields->used;

    memcpy(at, text.data, text.length);
    fields->used += text.length;
    return (struct text){at, text.length};
}

static int add_pseudo(struct h2_fields *fields, struct text name, struct text value)
{
    const struct {
        struct text name;
        struct text *place;
    } table[] = {{TEXT(":method"), &fields->method},
                 {TEXT(":scheme"), &fields->scheme},
                 {TEXT(":authority"), &fields->authority},
                 {TEXT(":path"), &fields->path},
                 {TEXT(":protocol"), &fields->protocol}};

    for (size_t i = 0; i < ELEMENTS(table); i++) {
        if (!text_is(name, table[i].name))
            continue;
        if (table[i].place->data || value.length == 0 || fields->n > 0 || fields->trailers ||
            memchr(value.data, ' ', value.length) || memchr(value.data, '\t', value.length))
            return -EPROTO;
        *table[i].place = keep(fields, value);
        return 0;
    }
    return -EPROTO;
}

static bool is_lower(struct text name)
{
    for (size_t i = 0; i < name.length; i++)
        if (isupper((unsigned char)name.data[i]))
            return false;
    return true;
}

static int add_regular(struct h2_fields *fields, struct text name, struct text value)
{
    if (!head_is_token(name) || !is_lower(name))
        return -EPROTO;
    for (size_t i = 0; i < ELEMENTS(forbidden); i++)
        if (text_is(name, forbidden[i]))
            return -EPROTO;
    if (text_is(name, TEXT("te")) && !text_is_case(value, TEXT("trailers")))
        return -EPROTO;
    struct head_field *field = &fields->list[fields->n++];
    *field = (struct head_field){.name = keep(fields, name), .value = keep(fields, value)};
    fields->n_cookies += text_is(name, TEXT("cookie"));
    if (text_is(name, TEXT("host"))) {
        if (fields->host.data)
            return -EPROTO;
        fields->host = field->value;
    }
    if (text_is(name, TEXT("content-length")))
        fields->length = field->value;
    return 0;
}

/* Too much is told to the peer as a status, far too much by ending the connection: to decompress
 * costs us more than the peer. */
static int count(struct h2_fields *fields, struct text name, struct text value)
{
    fields->size += name.length + value.length + FIELD_OVERHEAD;
    return fields->size > (size_t)4 * HEAD_MAX ? -E2BIG : 0;
}

static bool is_too_large(const struct h2_fields *fields)
{
    return fields->size > HEAD_MAX || fields->n == FIELDS_MAX;
}

int h2_request_field(struct h2_stream *stream, struct text name, struct text value)
{
    struct h2_fields *fields = stream->fields;

    if (!fields) {
        fields = stream->fields = malloc(sizeof(*fields));
        if (!fields)
            return -EPROTO;
        memset(fields, 0, offsetof(struct h2_fields, text));
        fields->trailers = stream->started;
    }
    int r = count(fields, name, value);
    if (r < 0 || is_too_large(fields))
        return r;
    if (name.length == 0 || !head_is_value(value))
        return -EPROTO;
    return name.data[0] == ':' ? add_pseudo(fields, name, value) : add_regular(fields, name, value);
}

void h2_request_free(struct h2_stream *stream)
{
    free(stream->fields);
    stream->fields = NULL;
    free(stream->trailers);
    stream->trailers = NULL;
}

/* ---- the head
 * ----------------------------------------------------------------------------------------- */

static int check_pseudo(struct h2_stream *stream, struct h2_fields *fields)
{
    bool connect = text_is(fields->method, TEXT("CONNECT"));

    if (!fields->method.data || !head_is_token(fields->method))
        return -EPROTO;
    if (!fields->authority.data)
        fields->authority = fields->host;
    if (fields->host.data && !text_is_case(fields->host, fields->authority))
        return -EPROTO;
    if (connect != (fields->protocol.data != NULL))
        return connect ? 405 : -EPROTO;
    if (!fields->path.data || !fields->authority.data ||
        !text_is_case(fields->scheme, TEXT("https")))
        return -EPROTO;
    if (fields->path.data[0] != '/' &&
        !(text_is(fields->path, TEXT("*")) && text_is(fields->method, TEXT("OPTIONS"))))
        return -EPROTO;
    if (connect && !text_is_case(fields->protocol, TEXT("websocket")))
        return 501;
    stream->tunnel = connect;
    stream->is_head = text_is(fields->method, TEXT("HEAD"));
    return 0;
}

static int add_text(struct buffer *out, struct text text)
{
    return buffer_add(out, text.data, text.length);
}

static int add_line(struct buffer *out, struct text name, struct text value)
{
    int r = add_text(out, name);

    r = r < 0 ? r : buffer_literal(out, ": ");
    r = r < 0 ? r : add_text(out, value);
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

/* HTTP/2 may send a cookie in pieces, HTTP/1.1 has one field. */
static int add_cookies(struct buffer *out, const struct h2_fields *fields)
{
    int r = fields->n_cookies > 0 ? buffer_literal(out, "cookie: ") : 0;
    size_t left = fields->n_cookies;

    for (size_t i = 0; r == 0 && i < fields->n; i++) {
        if (!text_is(fields->list[i].name, TEXT("cookie")))
            continue;
        r = add_text(out, fields->list[i].value);
        if (r == 0)
            r = --left > 0 ? buffer_literal(out, "; ") : buffer_literal(out, "\r\n");
    }
    return r;
}

static int add_fields(struct buffer *out, const struct h2_fields *fields)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < fields->n; i++) {
        struct text name = fields->list[i].name;
        if (!text_is(name, TEXT("cookie")) && !text_is(name, TEXT("host")))
            r = add_line(out, name, fields->list[i].value);
    }
    return r < 0 ? r : add_cookies(out, fields);
}

/* The handshake of HTTP/1.1 has a nonce, that of HTTP/2 does without. */
static int add_upgrade(struct buffer *out)
{
    unsigned char nonce[KEY_SIZE];
    gnutls_datum_t raw = {nonce, sizeof(nonce)}, encoded;

    if (gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof(nonce)) < 0 ||
        gnutls_base64_encode2(&raw, &encoded) < 0)
        return -ENOMEM;
    int r = buffer_print(out,
                         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: %.*s\r\n",
                         (int)encoded.size, encoded.data);
    gnutls_free(encoded.data);
    return r;
}

static int write_head(struct h2_stream *stream, const struct h2_fields *fields)
{
    struct buffer *out = &stream->head;
    int r = buffer_hold(&stream->worker->buffers, out);

    r = r < 0 ? r : add_text(out, stream->tunnel ? TEXT("GET") : fields->method);
    r = r < 0 ? r : buffer_literal(out, " ");
    r = r < 0 ? r : add_text(out, fields->path);
    r = r < 0 ? r : buffer_literal(out, " HTTP/1.1\r\n");
    r = r < 0 ? r : add_line(out, TEXT("Host"), fields->authority);
    r = r < 0 ? r : add_fields(out, fields);
    if (r == 0 && stream->tunnel)
        r = add_upgrade(out);
    if (r == 0 && stream->chunk)
        r = buffer_literal(out, "Transfer-Encoding: chunked\r\n");
    return r < 0 ? r : buffer_literal(out, "\r\n");
}

static int start(struct h2_stream *stream, const struct h2_fields *fields, bool ends)
{
    if (stream->tunnel && (ends || fields->length.data))
        return -EPROTO;
    stream->ended = ends;
    stream->chunk = !ends && !stream->tunnel && !fields->length.data;
    if (write_head(stream, fields) < 0)
        return h2_response_status(stream, 431);
    stream->client = client_new_stream(stream->h2->carrier, stream);
    return stream->client ? 0 : h2_response_status(stream, 503);
}

int h2_request_headers(struct h2_stream *stream, bool ends)
{
    struct h2_fields *fields = stream->fields;

    stream->started = true;
    if (!fields)
        return -EPROTO;
    int r = is_too_large(fields) ? 431 : check_pseudo(stream, fields);
    if (r == 0)
        r = start(stream, fields, ends);
    else if (r > 0)
        r = h2_response_status(stream, r);
    free(fields);
    stream->fields = NULL;
    return r;
}

/* ---- the body
 * ----------------------------------------------------------------------------------------- */

int h2_request_data(struct h2_stream *stream, struct text data)
{
    stream->unconsumed += data.length;
    if (!stream->client)
        return 0;
    int r = buffer_hold(&stream->worker->buffers, &stream->request);
    if (r == 0)
        r = buffer_add(&stream->request, data.data, data.length);
    h2_stream_wake(stream);
    return r;
}

int h2_request_trailers(struct h2_stream *stream)
{
    struct h2_fields *fields = stream->fields;
    int r = 0;

    stream->ended = true;
    if (fields && fields->size > TRAILERS_MAX / 2)
        r = -EPROTO;
    else if (fields && stream->chunk && (stream->trailers = malloc(TRAILERS_MAX)))
        for (size_t i = 0; i < fields->n; i++)
            stream->trailers_length += (size_t)snprintf(
                stream->trailers + stream->trailers_length, TRAILERS_MAX - stream->trailers_length,
                "%.*s: %.*s\r\n", (int)fields->list[i].name.length, fields->list[i].name.data,
                (int)fields->list[i].value.length, fields->list[i].value.data);
    free(fields);
    stream->fields = NULL;
    h2_stream_wake(stream);
    return r;
}

static void consumed(struct h2_stream *stream, size_t n)
{
    buffer_take(&stream->request, n);
    stream->unconsumed -= n;
    if (!stream->h2)
        return;
    nghttp2_session_consume(stream->h2->session, stream->id, n);
    h2_flush_later(stream->h2);
}

static ssize_t read_head(struct h2_stream *stream, char *data, size_t room)
{
    size_t n = stream->head.length < room ? stream->head.length : room;

    memcpy(data, buffer_head(&stream->head), n);
    buffer_take(&stream->head, n);
    stream->head_read = stream->head.length == 0;
    return (ssize_t)n;
}

static size_t put(char *to, const char *data, size_t length)
{
    if (length > 0)
        memcpy(to, data, length);
    return length;
}

static ssize_t read_body(struct h2_stream *stream, char *data, size_t room)
{
    size_t frame = stream->chunk ? CHUNK_FRAME : 0, used = 0;
    size_t n = stream->request.length;

    if (room <= frame)
        return -ENOBUFS;
    n = n < room - frame ? n : room - frame;
    if (stream->chunk)
        used = (size_t)snprintf(data, CHUNK_FRAME, "%zx\r\n", n);
    used += put(data + used, buffer_head(&stream->request), n);
    consumed(stream, n);
    if (stream->chunk)
        used += put(data + used, "\r\n", 2);
    return (ssize_t)used;
}

static ssize_t read_end(struct h2_stream *stream, char *data, size_t room)
{
    size_t length = stream->trailers_length;

    if (!stream->chunk || stream->end_read)
        return 0;
    if (room < length + 8)
        return -ENOBUFS;
    size_t used = put(data, "0\r\n", 3);
    used += put(data + used, stream->trailers, length);
    used += put(data + used, "\r\n", 2);
    stream->end_read = true;
    return (ssize_t)used;
}

ssize_t h2_request_read(struct h2_stream *stream, char *data, size_t room)
{
    if (!stream->head_read)
        return read_head(stream, data, room);
    if (stream->request.length > 0)
        return read_body(stream, data, room);
    if (stream->ended)
        return read_end(stream, data, room);
    return stream->h2 ? -EAGAIN : -ECONNRESET;
}
