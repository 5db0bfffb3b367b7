/* Theory of operation: see flow.h. Each round reads once if the input buffer is empty, renders what
 * needs rendering and writes once; or it fills a pipe and empties it. A short splice does not tell
 * that the socket is empty (the pipe may have been full), so a source stays readable until it says
 * EAGAIN. */
#include "proxy/flow.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK_FRAME ((size_t)32) /* size line, CRLF and the last chunk */

void flow_start(struct flow *flow, enum flow_kind kind, uint64_t length, bool chunk)
{
    *flow = (struct flow){.kind = (uint8_t)kind, .chunk = chunk, .left = length};
    flow->done = kind == FLOW_NONE || (kind == FLOW_LENGTH && length == 0);
}

static int add_chunk(struct buffer *out, bool chunk, const struct text *parts, size_t n)
{
    size_t length = 0;

    for (size_t i = 0; i < n; i++)
        length += parts[i].length;
    if (length == 0)
        return 0;
    int r = chunk ? buffer_print(out, "%zx\r\n", length) : 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = buffer_add(out, parts[i].data, parts[i].length);
    if (r == 0 && chunk)
        r = buffer_literal(out, "\r\n");
    return r;
}

static void end_insertion(struct flow *flow)
{
    free(flow->insertion);
    flow->insertion = NULL;
}

static int add_piece(struct flow *flow, struct buffer *out, struct text piece)
{
    struct text parts[INSERTION_PARTS];

    if (!flow->insertion)
        return add_chunk(out, flow->chunk, &piece, 1);
    int r = add_chunk(out, flow->chunk, parts, insertion_take(flow->insertion, piece, parts));
    if (flow->insertion->over)
        end_insertion(flow);
    return r;
}

/* What was held back of the body, and its end in the chunked coding. */
static int add_end(struct flow *flow, struct buffer *out, struct text trailers)
{
    struct text parts[INSERTION_PARTS];
    int r = 0;

    if (flow->insertion)
        r = add_chunk(out, flow->chunk, parts, insertion_end(flow->insertion, parts));
    end_insertion(flow);
    if (r < 0 || !flow->chunk)
        return r;
    r = buffer_literal(out, "0\r\n");
    return r < 0 ? r : buffer_add(out, trailers.data, trailers.length);
}

/* Bytes of a body that can be rendered now, with everything that may come with them. */
static size_t room_for_body(const struct flow *flow, struct buffer *out)
{
    size_t room = buffer_room(out);
    size_t kept = 2 * CHUNK_FRAME + (flow->insertion ? INSERTION_ROOM : 0);

    return room > kept ? room - kept : 0;
}

/* Decodes into `out` as long as there is room for a piece with its frame. */
static int render_chunked(struct flow *flow, struct buffer *in, struct buffer *out)
{
    while (in->length > 0 && !flow->done && !flow->starved) {
        size_t room = room_for_body(flow, out), taken = 0;
        struct text piece = TEXT("\r\n");
        struct text input = {buffer_head(in), in->length};
        if (room < TRAILERS_MAX)
            return 0;
        if (input.length > room)
            input.length = room;
        int r = chunked_step(&flow->chunked, input, &taken, &piece);
        if (r < 0)
            return r;
        buffer_take(in, taken);
        flow->done = r == CHUNKED_END || r == CHUNKED_TRAILERS;
        flow->starved = r == CHUNKED_MORE && in->length > 0;
        r = r == CHUNKED_DATA ? add_piece(flow, out, piece)
            : flow->done      ? add_end(flow, out, piece)
                              : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int render_to_eof(struct flow *flow, struct peer *source, struct buffer *out)
{
    struct buffer *in = &source->in;
    size_t room = room_for_body(flow, out);

    if (in->length > 0 && room > 0) {
        size_t n = room < in->length ? room : in->length;
        int r = add_piece(flow, out, (struct text){buffer_head(in), n});
        if (r < 0)
            return r;
        buffer_take(in, n);
    }
    if (in->length > 0 || !source->eof || buffer_room(out) < CHUNK_FRAME + INSERTION_ROOM)
        return 0;
    flow->done = true;
    return add_end(flow, out, TEXT("\r\n"));
}

/* Only as long as something is to be inserted. */
static int render_length(struct flow *flow, struct buffer *in, struct buffer *out)
{
    size_t n = room_for_body(flow, out);

    n = n < in->length ? n : in->length;
    n = n < flow->left ? n : (size_t)flow->left;
    int r = n > 0 ? add_piece(flow, out, (struct text){buffer_head(in), n}) : 0;
    if (r < 0 || n == 0)
        return r;
    buffer_take(in, n);
    flow->left -= n;
    flow->done = flow->left == 0;
    return flow->done ? add_end(flow, out, TEXT("")) : 0;
}

static bool is_rendered(const struct flow *flow)
{
    return !flow->done && (flow->kind == FLOW_CHUNKED || flow->chunk || flow->insertion);
}

static int render(struct buffer_pool *pool, struct flow *flow, struct peer *source,
                  struct peer *sink)
{
    if (!is_rendered(flow))
        return 0;
    int r = buffer_hold(pool, &sink->out);
    if (r < 0)
        return r;
    return flow->kind == FLOW_CHUNKED  ? render_chunked(flow, &source->in, &sink->out)
           : flow->kind == FLOW_LENGTH ? render_length(flow, &source->in, &sink->out)
                                       : render_to_eof(flow, source, &sink->out);
}

/* Bytes of the input that may be written as they are. */
static size_t verbatim(const struct flow *flow, const struct peer *source)
{
    if (flow->done || is_rendered(flow))
        return 0;
    if (flow->kind == FLOW_LENGTH && flow->left < source->in.length)
        return (size_t)flow->left;
    return source->in.length;
}

static void account(struct flow *flow, struct peer *source, size_t sent)
{
    if (sent > 0)
        buffer_take(&source->in, sent);
    if (flow->kind == FLOW_LENGTH) {
        flow->left -= sent;
        flow->done = flow->done || flow->left == 0;
    }
    if (flow->kind == FLOW_TO_EOF && !flow->chunk && source->eof && source->in.length == 0)
        flow->done = true;
}

static int take_input(struct buffer_pool *pool, struct flow *flow, struct peer *source)
{
    size_t before = source->in.length;

    if (flow->done || (before > 0 && !flow->starved))
        return 0;
    int r = peer_fill(pool, source);
    if (source->in.length > before)
        flow->starved = false;
    return r;
}

static bool ended_early(const struct flow *flow, const struct peer *source)
{
    return !flow->done && source->eof && (source->in.length == 0 || flow->starved) &&
           flow->kind != FLOW_TO_EOF;
}

/* One read, one rendering, one write. */
static enum flow_result run_round(struct buffer_pool *pool, struct flow *flow, struct peer *source,
                                  struct peer *sink, bool *moved)
{
    size_t in = source->in.length, out = sink->out.length;
    bool done = flow->done;

    if (take_input(pool, flow, source) < 0 || render(pool, flow, source, sink) < 0)
        return FLOW_SOURCE_LOST;
    *moved = source->in.length != in || sink->out.length != out;
    size_t waiting = sink->out.length, raw = verbatim(flow, source);
    ssize_t n = peer_send(sink, raw > 0 ? buffer_head(&source->in) : NULL, raw);
    if (n < 0)
        return FLOW_SINK_LOST;
    account(flow, source, (size_t)n);
    *moved = *moved || n > 0 || sink->out.length != waiting || flow->done != done;
    return ended_early(flow, source) && sink->out.length == 0 ? FLOW_SOURCE_LOST : FLOW_WAIT;
}

static void end_pipe(struct pipe_pool *pipes, struct flow *flow)
{
    pipe_give(pipes, flow->pipe);
    flow->pipe = NULL;
}

void flow_end(struct pipe_pool *pipes, struct flow *flow)
{
    end_pipe(pipes, flow);
    end_insertion(flow);
}

/* Whether what comes next goes through a pipe. What is buffered goes first. */
static bool wants_pipe(const struct flow *flow, const struct peer *source, const struct peer *sink)
{
    if (flow->pipe)
        return true;
    return flow->kind == FLOW_LENGTH && !is_rendered(flow) && flow->left >= SPLICE_MIN &&
           source->in.length == 0 && sink->out.length == 0 && source->readable && sink->writable &&
           source->transport->raw && sink->transport->raw;
}

static enum flow_result run_pipe(struct pipe_pool *pipes, struct flow *flow, struct peer *source,
                                 struct peer *sink, bool *moved)
{
    struct pipe *pipe = flow->pipe;
    ssize_t in = 0, out;

    if (pipe->used == 0) {
        in = peer_fill_pipe(source, pipe, flow->left < PIPE_SIZE ? (size_t)flow->left : PIPE_SIZE);
        if (in < 0 || (source->eof && in == 0))
            return FLOW_SOURCE_LOST;
        flow->left -= (uint64_t)in;
    }
    out = peer_send_pipe(sink, pipe);
    if (out < 0)
        return FLOW_SINK_LOST;
    *moved = in > 0 || out > 0;
    if (pipe->used == 0) {
        flow->done = flow->left == 0;
        end_pipe(pipes, flow);
    }
    return FLOW_WAIT;
}

enum flow_result flow_run(struct buffer_pool *buffers, struct pipe_pool *pipes, struct flow *flow,
                          struct peer *source, struct peer *sink, unsigned int rounds,
                          bool *ret_moved)
{
    for (unsigned int i = 0; i < rounds; i++) {
        bool moved = false;
        if (wants_pipe(flow, source, sink) && !flow->pipe)
            flow->pipe = pipe_take(pipes);
        enum flow_result r = flow->pipe ? run_pipe(pipes, flow, source, sink, &moved)
                                        : run_round(buffers, flow, source, sink, &moved);
        *ret_moved = *ret_moved || moved;
        if (r != FLOW_WAIT || !moved || (flow->done && sink->out.length == 0))
            return r;
    }
    return FLOW_AGAIN;
}
