/* …/processes/{process_id}/logs and …/logs: a log as it is and, with follow, as it grows. Chunks
 * are made from what the init sends; the init is not read from while the client has not taken
 * enough. */
#include "api/handlers.h"

#include "api/exec-schema.h"
#include "api/inits.h"
#include "api/log-format.h"
#include "api/stream.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define WAITING_MAX (128u << 10) /* bytes for the client; above, the init is not read */
#define BLOCK_SIZE  (32u << 10)

struct piece {
    struct piece *next;
    char *text;
    size_t length, used;
};

struct reader {
    struct http_request *request;
    struct stream *stream;
    struct log_format format;
    struct piece *first, **last;
    size_t waiting;
    bool ended, failed, answered;
};

static void drop_first(struct reader *reader)
{
    struct piece *piece = reader->first;

    reader->first = piece->next;
    if (!reader->first)
        reader->last = &reader->first;
    reader->waiting -= piece->length;
    free(piece->text);
    free(piece);
}

static void reader_free(void *state)
{
    struct reader *reader = state;

    stream_free(reader->stream);
    while (reader->first)
        drop_first(reader);
    free(reader);
}

static ssize_t on_read(void *userdata, uint64_t position, char *target, size_t size)
{
    struct reader *reader = userdata;
    size_t n = 0;

    (void)position;
    if (reader->failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    while (reader->first && n < size) {
        struct piece *piece = reader->first;
        size_t left = piece->length - piece->used;
        size_t part = left < size - n ? left : size - n;
        memcpy(target + n, piece->text + piece->used, part);
        piece->used += part;
        n += part;
        if (piece->used == piece->length)
            drop_first(reader);
    }
    if (n == 0 && reader->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0)
        http_pause(reader->request);
    if (!reader->ended && reader->waiting < WAITING_MAX)
        stream_pause(reader->stream, false);
    return (ssize_t)n;
}

static void wake(struct reader *reader)
{
    if (reader->answered)
        http_continue(reader->request);
}

static void on_abort(struct http_request *request)
{
    struct reader *reader = request->state;

    reader->failed = reader->ended = true;
    wake(reader);
}

static int add_piece(struct reader *reader, char *text, size_t length)
{
    struct piece *piece = malloc(sizeof(*piece));

    if (!piece)
        return -ENOMEM;
    *piece = (struct piece){.text = text, .length = length};
    *reader->last = piece;
    reader->last = &piece->next;
    reader->waiting += length;
    return 0;
}

static void on_packet(void *userdata, unsigned int channel, const char *data, size_t length)
{
    struct reader *reader = userdata;
    cleanup_free char *text = NULL;
    size_t n = 0;
    int r = log_format(&reader->format, channel, data, length, &text, &n);

    if (r == 0 && !text)
        return;
    if (r == 0)
        r = add_piece(reader, text, n);
    if (r < 0) {
        on_abort(reader->request);
        return;
    }
    (void)TAKE_PTR(text);
    if (reader->waiting >= WAITING_MAX)
        stream_pause(reader->stream, true);
    wake(reader);
}

static void on_stream_end(void *userdata, int error)
{
    struct reader *reader = userdata;

    reader->ended = true;
    reader->failed = reader->failed || error < 0;
    wake(reader);
}

static const struct stream_handler handler = {.packet = on_packet, .end = on_stream_end};

static void on_attached(void *userdata, json_t *result, struct ipc_fds *fds,
                        const struct error *err)
{
    struct reader *reader = userdata;
    struct http_request *request = reader->request;

    (void)fds;
    if (!result) {
        http_fail(request, err);
        return;
    }
    http_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, "%s",
                reader->format.lines ? "application/x-ndjson" : "text/plain; charset=utf-8");
    http_header(request, "X-Content-Type-Options", "nosniff");
    http_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    reader->answered = true;
    http_respond(
        request, 200,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, on_read, reader, NULL));
    http_on_abort(request, on_abort);
    http_watch_hangup(request);
}

static int start(struct http_request *request, const char *op, json_t *params, struct error *err)
{
    const char *accept = http_get_header(request, MHD_HTTP_HEADER_ACCEPT);
    struct reader *reader = calloc(1, sizeof(*reader));
    int peer;

    if (!reader || !params) {
        free(reader);
        json_decref(params);
        return error_oom(err);
    }
    *reader = (struct reader){.request = request};
    reader->last = &reader->first;
    reader->format.lines = accept && strstr(accept, "application/x-ndjson");
    request->state = reader;
    request->state_free = reader_free;
    int r = stream_new(request->api, &handler, reader, &reader->stream, &peer, err);
    if (r < 0) {
        json_decref(params);
        return r;
    }
    init_call(request->api, request->captures[0], op, params, peer, on_attached, reader);
    return 0;
}

HANDLER(process_logs)
{
    const struct log_query *params = query;
    uint64_t id;

    (void)body;
    if (parse_u64(request->captures[1], 1, INT64_MAX, &id) < 0)
        return error_set_code(err, ENOENT, "process_not_found", "there is no process `%.32s`",
                              request->captures[1]);
    return start(request, "process.attach",
                 json_pack("{s:I,s:I,s:b}", "process_id", (json_int_t)id, "since",
                           (json_int_t)params->since, "follow", params->follow),
                 err);
}

HANDLER(sandbox_logs)
{
    const struct log_query *params = query;

    (void)body;
    return start(
        request, "service.attach",
        json_pack("{s:I,s:b}", "since", (json_int_t)params->since, "follow", params->follow), err);
}
