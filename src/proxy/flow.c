/* Theory of operation: see flow.h. Each round reads once if the input buffer is empty, renders what
 * needs rendering and writes once; or it fills a pipe and empties it. A short splice does not tell
 * that the socket is empty (the pipe may have been full), so a source stays readable until it says
 * EAGAIN. */
#include "proxy/flow.h"

#include <errno.h>

#define CHUNK_FRAME ((size_t)32) /* size line, CRLF and the last chunk */

void flow_start(struct flow *flow, enum flow_kind kind, uint64_t length, bool chunk)
{
    *flow = (struct flow){.kind = (uint8_t)kind, .chunk = chunk, .left = length};
    flow->done = kind == FLOW_NONE || (kind == FLOW_LENGTH && length == 0);
}

static int add_chunk(struct buffer *out, bool chunk, struct text piece)
{
    int r = chunk ? buffer_print(out, "%zx\r\n", piece.length) : 0;

    if (r == 0)
        r = buffer_add(out, piece.data, piece.length);
    if (r == 0 && chunk)
        r = buffer_literal(out, "\r\n");
    return r;
}

static int add_end(struct buffer *out, bool chunk, struct text trailers)
{
    if (!chunk)
        return 0;
    int r = buffer_literal(out, "0\r\n");
    return r < 0 ? r : buffer_add(out, trailers.data, trailers.length);
}

/* Decodes into `out` as long as there is room for a piece with its frame. */
static int render_chunked(struct flow *flow, struct buffer *in, struct buffer *out)
{
    while (in->length > 0 && !flow->done && !flow->starved) {
        size_t room = buffer_room(out), taken = 0;
        struct text piece = TEXT("\r\n");
        struct text input = {buffer_head(in), in->length};
        if (room < CHUNK_FRAME + TRAILERS_MAX)
            return 0;
        if (input.length > room - CHUNK_FRAME)
            input.length = room - CHUNK_FRAME;
        int r = chunked_step(&flow->chunked, input, &taken, &piece);
        if (r < 0)
            return r;
        buffer_take(in, taken);
        flow->done = r == CHUNKED_END || r == CHUNKED_TRAILERS;
        flow->starved = r == CHUNKED_MORE && in->length > 0;
        r = r == CHUNKED_DATA ? add_chunk(out, flow->chunk, piece)
            : flow->done      ? add_end(out, flow->chunk, piece)
                              : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int render_to_eof(struct flow *flow, struct peer *source, struct buffer *out)
{
    struct buffer *in = &source->in;
    size_t room = buffer_room(out);

    if (in->length > 0 && room > 2 * CHUNK_FRAME) {
        size_t n = room - 2 * CHUNK_FRAME < in->length ? room - 2 * CHUNK_FRAME : in->length;
        int r = add_chunk(out, true, (struct text){buffer_head(in), n});
        if (r < 0)
            return r;
        buffer_take(in, n);
    }
    if (in->length > 0 || !source->eof || buffer_room(out) < CHUNK_FRAME)
        return 0;
    flow->done = true;
    return add_end(out, true, TEXT("\r\n"));
}

static int render(struct buffer_pool *pool, struct flow *flow, struct peer *source,
                  struct peer *sink)
{
    if (flow->done || (flow->kind != FLOW_CHUNKED && !flow->chunk))
        return 0;
    int r = buffer_hold(pool, &sink->out);
    if (r < 0)
        return r;
    return flow->kind == FLOW_CHUNKED ? render_chunked(flow, &source->in, &sink->out)
                                      : render_to_eof(flow, source, &sink->out);
}

/* Bytes of the input that may be written as they are. */
static size_t verbatim(const struct flow *flow, const struct peer *source)
{
    if (flow->done || flow->kind == FLOW_CHUNKED || flow->chunk)
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

void flow_end(struct pipe_pool *pipes, struct flow *flow)
{
    pipe_give(pipes, flow->pipe);
    flow->pipe = NULL;
}

/* Whether what comes next goes through a pipe. What is buffered goes first. */
static bool wants_pipe(const struct flow *flow, const struct peer *source, const struct peer *sink)
{
    if (flow->pipe)
        return true;
    return flow->kind == FLOW_LENGTH && !flow->chunk && flow->left >= SPLICE_MIN &&
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
        flow_end(pipes, flow);
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
