/* HTTP/2 towards browsers (RFC 9113), over TLS.
 *
 * A connection is a client (client.h) in the state CLIENT_H2: it has the socket and a session of
 * libnghttp2. Each of its streams is turned into a client of its own, whose transport is the
 * stream: it reads an HTTP/1.1 request that was written from what the stream's headers say, and
 * writes an HTTP/1.1 response that is read and sent as frames. So everything behind (routing,
 * waiting, pages, access, rewriting, pools) sees one kind of request, and what HTTP/2 could hide
 * from an HTTP/1.1 parser passes that parser.
 *
 *   h2.c           the connection: session, callbacks, windows, the end
 *   h2-request.c   a stream's headers as an HTTP/1.1 head; its body as that client reads it
 *   h2-response.c  the HTTP/1.1 response, as frames
 *   h2-budget.c    frames that cost us more than the peer, rationed */
#pragma once

#include "proxy/chunked.h"
#include "proxy/client.h"
#include "proxy/h2-budget.h"

#include <nghttp2/nghttp2.h>

#define H2_STREAMS_MAX       100u    /* at a time */
#define H2_WINDOW            65535   /* bytes of a request body that a stream may have waiting */
#define H2_CONNECTION_WINDOW 1048576 /* the same, over all streams of a connection */

struct h2 {
    struct client *carrier;
    nghttp2_session *session;
    struct h2_stream *streams;
    unsigned int n_streams;
    struct h2_budget budget;
    const uint8_t *pending; /* libnghttp2's, valid until the next nghttp2_session_mem_send */
    size_t n_pending;
    bool over; /* ended by us or by a violation: what is queued is sent, then it is closed */
};

/* How far the response has come that the stream's client writes. */
enum h2_response_state { H2_HEAD, H2_LENGTH, H2_CHUNKED, H2_TO_END, H2_DONE };

struct h2_fields;

struct h2_stream {
    struct worker *worker;
    struct h2 *h2; /* NULL: libnghttp2 is done with the stream */
    struct h2_stream *next, *previous;
    int32_t id;
    struct client *client; /* NULL: it has closed, or there was none yet */

    /* The head of the request until the client has read it; then of the response until it is
     * complete, or its body as long as that is in the chunked coding. */
    struct buffer head;

    /* the request */
    struct h2_fields *fields; /* while headers come in */
    struct buffer request;    /* of the body */
    size_t unconsumed;        /* bytes of the body that the windows do not know to be read */
    bool tunnel, chunk;       /* WebSocket (RFC 8441); a body of unknown length */
    bool is_head, started, head_read, ended, end_read;
    char *trailers; /* lines, each ended by CR LF */
    size_t trailers_length;

    /* the response */
    uint8_t state; /* enum h2_response_state */
    bool shut;     /* the client has ended its direction */
    bool deferred; /* libnghttp2 waits to be told of more */
    struct buffer body;
    struct chunked chunked;
    uint64_t left; /* H2_LENGTH */
};

/* Makes the connection, whose handshake is done, one of HTTP/2. */
void h2_start(struct client *carrier);

/* As client_run, client_timeout, client_drain and client_close do for other clients. */
void h2_run(struct client *carrier);
void h2_timeout(struct client *carrier);
void h2_drain(struct client *carrier);
void h2_free(struct client *carrier);

/* Has the connection send what was submitted. */
void h2_flush_later(struct h2 *h2);

/* RST_STREAM, unless libnghttp2 is done with the stream. */
void h2_stream_reset(struct h2_stream *stream, uint32_t code);

/* The stream's client may read, or write, more than before. */
void h2_stream_wake(struct h2_stream *stream);
void h2_stream_writable(struct h2_stream *stream);

/* h2-request.c: a field is refused with -EPROTO (the request is malformed) or, when headers go far
 * beyond every limit, -E2BIG (the connection is to be ended). */
int h2_request_field(struct h2_stream *stream, struct text name, struct text value);

/* All headers are there; `ends`: and no body. Starts the stream's client, or answers by itself. */
int h2_request_headers(struct h2_stream *stream, bool ends);
int h2_request_trailers(struct h2_stream *stream);
int h2_request_data(struct h2_stream *stream, struct text data);
ssize_t h2_request_read(struct h2_stream *stream, char *data, size_t room);
void h2_request_free(struct h2_stream *stream);

/* h2-response.c: how much was taken, -EAGAIN or -EPROTO. */
ssize_t h2_response_write(struct h2_stream *stream, const char *data, size_t length);
int h2_response_status(struct h2_stream *stream, int status);
void h2_response_shut(struct h2_stream *stream);

extern const struct transport transport_stream;
