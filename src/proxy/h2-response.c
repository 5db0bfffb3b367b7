/* Theory of operation: see h2.h. What the stream's client writes is HTTP/1.1 of our own making, and
 * still read as strictly as anybody's. Its body waits in one buffer for the stream's window; a body
 * in the chunked coding passes a second one, in which it is taken apart. When both are full the
 * client is told to wait, and so, in turn, the dev server. */
#include "proxy/h2.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Fields that say something about the HTTP/1.1 connection, and the answer to a nonce of ours. */
static const struct text dropped[] = {TEXT("connection"),       TEXT("keep-alive"),
                                      TEXT("proxy-connection"), TEXT("transfer-encoding"),
                                      TEXT("upgrade"),          TEXT("sec-websocket-accept")};

static bool is_dropped(struct text name)
{
    for (size_t i = 0; i < ELEMENTS(dropped); i++)
        if (text_is_case(name, dropped[i]))
            return true;
    return false;
}

static nghttp2_nv make_nv(struct text name, struct text value)
{
    return (nghttp2_nv){(uint8_t *)name.data, (uint8_t *)value.data, name.length, value.length,
                        NGHTTP2_NV_FLAG_NONE};
}

/* In its own buffer, which is ours. */
static void lower(struct text name)
{
    for (size_t i = 0; i < name.length; i++)
        ((char *)name.data)[i] = (char)tolower((unsigned char)name.data[i]);
}

static size_t make_fields(const struct head_field *fields, size_t n, nghttp2_nv *ret_list)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        if (is_dropped(fields[i].name))
            continue;
        lower(fields[i].name);
        ret_list[count++] = make_nv(fields[i].name, fields[i].value);
    }
    return count;
}

/* ---- what libnghttp2 asks for
 * ------------------------------------------------------------------------- */

static int decode(struct h2_stream *stream);

/* Trailers are "name: value" lines that trailers_check has seen; they take the place of END_STREAM.
 */
static int send_trailers(struct h2_stream *stream)
{
    struct text text = {stream->trailers, stream->trailers_length};
    nghttp2_nv list[FIELDS_MAX];
    size_t n = 0;

    while (text.length > 0 && n < FIELDS_MAX) {
        size_t line = (size_t)((const char *)memmem(text.data, text.length, "\r\n", 2) - text.data);
        const char *colon = memchr(text.data, ':', line);
        struct text name = {text.data, (size_t)(colon - text.data)};
        const char *value = colon + 1, *end = text.data + line;
        while (value < end && (*value == ' ' || *value == '\t'))
            value++;
        lower(name);
        list[n++] = make_nv(name, (struct text){value, (size_t)(end - value)});
        text.data += line + 2;
        text.length -= line + 2;
    }
    return nghttp2_submit_trailer(stream->h2->session, stream->id, list, n);
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *data, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *userdata)
{
    struct h2_stream *stream = source->ptr;
    size_t n = stream->body.length < room ? stream->body.length : room;

    (void)session;
    (void)id;
    (void)userdata;
    if (n > 0) {
        memcpy(data, buffer_head(&stream->body), n);
        buffer_take(&stream->body, n);
        if (stream->state == H2_CHUNKED && decode(stream) < 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        buffer_trim(&stream->worker->buffers, &stream->body);
        h2_stream_writable(stream);
    }
    if (stream->body.length == 0 && stream->state == H2_DONE) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->trailers_length > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            send_trailers(stream);
        }
    } else if (n == 0) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

static void more_to_send(struct h2_stream *stream)
{
    if (!stream->h2)
        return;
    if (stream->deferred)
        nghttp2_session_resume_data(stream->h2->session, stream->id);
    stream->deferred = false;
    h2_flush_later(stream->h2);
}

/* ---- the head
 * ----------------------------------------------------------------------------------------- */

static void choose_body(struct h2_stream *stream, const struct head *head)
{
    bool none = stream->is_head || head->status == 204 || head->status == 304;

    if (head->status == 101)
        stream->state = H2_TO_END;
    else if (none || (head->body == BODY_LENGTH && head->content_length == 0))
        stream->state = H2_DONE;
    else if (head->body == BODY_LENGTH)
        stream->state = H2_LENGTH;
    else
        stream->state = head->body == BODY_CHUNKED ? H2_CHUNKED : H2_TO_END;
    stream->left = head->content_length;
}

static int submit_head(struct h2_stream *stream, const struct head *head)
{
    bool interim = head->status < 200 && head->status != 101;
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = on_read};
    nghttp2_session *session = stream->h2->session;
    nghttp2_nv list[FIELDS_MAX + 1];
    char status[4];

    if (head->status == 101 && !stream->tunnel)
        return -EPROTO;
    snprintf(status, sizeof(status), "%d", head->status == 101 ? 200 : head->status);
    list[0] = make_nv(TEXT(":status"), (struct text){status, 3});
    size_t n = 1 + make_fields(head->fields, head->n_fields, list + 1);
    if (interim)
        return nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, stream->id, NULL, list, n, NULL);
    choose_body(stream, head);
    return nghttp2_submit_response(session, stream->id, list, n,
                                   stream->state == H2_DONE ? NULL : &body);
}

int h2_response_status(struct h2_stream *stream, int status)
{
    struct head head = {.status = status, .body = BODY_LENGTH};

    return submit_head(stream, &head) < 0 ? -EPROTO : 0;
}

/* Takes bytes up to the end of the head. */
static ssize_t take_head(struct h2_stream *stream, const char *data, size_t length)
{
    struct buffer *text = &stream->head;
    size_t before = text->length, room;
    struct head_error error;
    struct head head;

    if (buffer_hold(&stream->worker->buffers, text) < 0)
        return -ENOMEM;
    room = buffer_room(text);
    length = length < room ? length : room;
    buffer_add(text, data, length);
    int n = head_length(buffer_head(text), text->length, before);
    if (n == 0 && length > 0)
        return (ssize_t)length;
    struct text whole = {buffer_head(text), n > 0 ? (size_t)n : 0};
    if (n <= 0 || head_parse_response(whole, &head, &error) < 0 || submit_head(stream, &head) < 0)
        return -EPROTO;
    buffer_drop(&stream->worker->buffers, text);
    h2_flush_later(stream->h2);
    return n - (ssize_t)before;
}

/* ---- the body
 * ----------------------------------------------------------------------------------------- */

static ssize_t take_raw(struct h2_stream *stream, const char *data, size_t length)
{
    if (buffer_hold(&stream->worker->buffers, &stream->body) < 0)
        return -ENOMEM;
    size_t room = buffer_room(&stream->body);
    length = length < room ? length : room;
    if (stream->state == H2_LENGTH && length > stream->left)
        length = (size_t)stream->left;
    buffer_add(&stream->body, data, length);
    stream->left -= stream->state == H2_LENGTH ? length : 0;
    if (stream->state == H2_LENGTH && stream->left == 0)
        stream->state = H2_DONE;
    return length > 0 ? (ssize_t)length : -EAGAIN;
}

static int keep_trailers(struct h2_stream *stream, struct text text)
{
    free(stream->trailers);
    stream->trailers = malloc(text.length);
    if (!stream->trailers)
        return -ENOMEM;
    memcpy(stream->trailers, text.data, text.length);
    stream->trailers_length = text.length - 2; /* without the empty line */
    return 0;
}

/* From the one buffer into the other, as far as there is room. */
static int decode(struct h2_stream *stream)
{
    struct buffer *in = &stream->head, *out = &stream->body;
    int r = buffer_hold(&stream->worker->buffers, out);

    while (r >= 0 && in->length > 0 && stream->state == H2_CHUNKED) {
        size_t room = buffer_room(out), taken = 0;
        size_t most = in->length < room ? in->length : room; /* so that what comes out fits */
        struct text piece = {NULL, 0};
        r = chunked_step(&stream->chunked, (struct text){buffer_head(in), most}, &taken, &piece);
        if (r == CHUNKED_DATA)
            buffer_add(out, piece.data, piece.length);
        else if (r == CHUNKED_TRAILERS && keep_trailers(stream, piece) < 0)
            r = -ENOMEM;
        if (r == CHUNKED_TRAILERS || r == CHUNKED_END)
            stream->state = H2_DONE;
        if (r >= 0)
            buffer_take(in, taken);
        if (r == CHUNKED_MORE)
            break;
    }
    return r < 0 ? -EPROTO : 0;
}

static ssize_t take_chunked(struct h2_stream *stream, const char *data, size_t length)
{
    if (buffer_hold(&stream->worker->buffers, &stream->head) < 0)
        return -ENOMEM;
    size_t room = buffer_room(&stream->head);
    length = length < room ? length : room;
    buffer_add(&stream->head, data, length);
    if (decode(stream) < 0)
        return -EPROTO;
    buffer_trim(&stream->worker->buffers, &stream->head);
    return length > 0 ? (ssize_t)length : -EAGAIN;
}

ssize_t h2_response_write(struct h2_stream *stream, const char *data, size_t length)
{
    static ssize_t (*const takers[])(struct h2_stream *, const char *, size_t) = {
        [H2_HEAD] = take_head,
        [H2_LENGTH] = take_raw,
        [H2_CHUNKED] = take_chunked,
        [H2_TO_END] = take_raw,
    };
    size_t taken = 0;

    if (!stream->head_read)
        return -EPROTO; /* an answer before the question */
    while (taken < length) {
        if (!stream->h2)
            return -ECONNRESET;
        if (stream->state == H2_DONE)
            return -EPROTO;
        ssize_t n = takers[stream->state](stream, data + taken, length - taken);
        if (n < 0 && (n != -EAGAIN || taken == 0))
            return n;
        if (n <= 0)
            break;
        taken += (size_t)n;
    }
    more_to_send(stream);
    return (ssize_t)taken;
}

void h2_response_shut(struct h2_stream *stream)
{
    stream->shut = true;
    if (stream->state == H2_TO_END)
        stream->state = H2_DONE;
    if (stream->state != H2_DONE)
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    more_to_send(stream);
}
