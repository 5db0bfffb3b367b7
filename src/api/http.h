/* libmicrohttpd on the event loop: one daemon a listening socket, driven through its epoll
 * descriptor; no thread is made. */
#pragma once

#include "api/api.h"
#include "base/error.h"

#define HTTP_LISTENERS_MAX 4u

struct http_request;

int http_new(struct api *api, struct error *err);

enum http_transport {
    HTTP_UNIX, /* trusted: its peer's credentials count */
    HTTP_TCP,
    HTTP_TLS, /* with api->tls */
};

/* Serves a listening socket, which stays the caller's. */
int http_listen(struct http *http, int fd, enum http_transport transport, struct error *err);

/* Takes no more connections; calls `idle` once no request is open. */
void http_quiesce(struct http *http, void (*idle)(struct api *api));

/* Aborts what still runs. */
void http_abort_all(struct http *http);

/* Aborts what runs for an API key or an account (struct principal), WebSockets included. */
void http_abort_credential(struct http *http, const char *credential);

/* Every request must have been answered or be about to be: connections still open are closed. */
void http_free(struct http *http);

/* Requests between their beginning and end. */
void http_track(struct http *http, struct http_request *request);
void http_untrack(struct http *http, struct http_request *request);

/* Has the daemon look at its connections in the next turn: after a resume or the end of an upgraded
 * connection, of which its epoll descriptor says nothing. */
struct http_listener;
void http_wake(struct http_listener *listener);

/* Serves what is ready now: after answers that must go out before http_free. */
void http_run(struct http *http);
