/* What the access log says of a request: one JSON object a line, written when the request has
 * ended. What only its head tells is kept from the beginning, since the head goes; memory for that
 * comes from a list of the thread's own. Where there is no access log nothing is done.
 *
 * {"time":"2026-01-31T12:00:00.000Z" (the head was complete),"sandbox":ID|null,"port":int|null
 * (that the request went to),"host","client" (address),"method","path" (with the
 * query),"user_agent", "referer","request_id" (X-Request-Id; each string|null, cut as record.c
 * says), "protocol":"HTTP/1.0"|"HTTP/1.1"|"HTTP/2","tls":bool (the connection to
 * us),"status":int|null (null: it ended before any was sent),"answer":CODE|null (of an answer of
 * the proxy's own), "websocket":bool,"bytes_in","bytes_out" (heads
 * included),"duration_ms","upstream_ms":number|null (from the request sent to the head of the
 * response),"upstream_reused":bool|null,"ended"}
 *
 * ended: "done", "client_gone", "upstream_lost", "access_ended" (its token has expired or was
 * revoked), "proxy_ended", or "timeout_CLASS" with the limit that ended it (record.c). */
#pragma once

#include "proxy/client.h"

#define RECORD_DONE          "done"
#define RECORD_CLIENT_GONE   "client_gone"
#define RECORD_UPSTREAM_LOST "upstream_lost"
#define RECORD_ACCESS_ENDED  "access_ended"
#define RECORD_PROXY_ENDED   "proxy_ended"

struct record;

/* A request begins; `head` NULL: its head was refused. */
void record_begin(struct client *client, const struct head *head);

/* Its final status has been decided; `code`: of an answer of ours, a literal, else NULL. */
void record_status(struct client *client, int status, const char *code);

/* The head of the response has come. */
void record_head(struct client *client);

/* A WebSocket begins, which may last: takes no more memory than it needs. */
void record_tunnel(struct client *client);

/* Why it will have ended; a literal. The first reason stays. */
void record_reason(struct client *client, const char *reason);
void record_timeout(struct client *client, enum timer_class class);

/* It has ended. Without a reason it was the client or, if that is still there, the dev server. */
void record_end(struct client *client);

/* When the thread has ended. */
void records_free(struct worker *worker);
