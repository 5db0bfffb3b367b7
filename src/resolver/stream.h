/* A TCP connection of a sandbox (RFC 7766): one question after the other. */
#pragma once

#include "resolver/query.h"

/* Takes the descriptor. */
void stream_new(struct box *box, int fd);
void stream_answer(struct stream *stream, const uint8_t *wire, size_t length);
/* What it waits for; NULL: nothing. */
void stream_set_query(struct stream *stream, struct query *query);
void stream_free(struct stream *stream);
