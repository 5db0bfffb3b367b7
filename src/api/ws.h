/* WebSocket (RFC 6455) on a connection that libmicrohttpd upgrades; frames by wslay. Pings every
 * 30 s; a peer that shows no life for two of them is given up. Back-pressure both ways: ws_pause
 * stops reading, `writable` tells that what was queued has gone out. */
#pragma once

#include "api/request.h"

#include <stdint.h>

struct ws;

struct ws_handler {
    size_t message_max; /* bytes of a message received; 0: WS_MESSAGE_MAX */
    bool deflate;       /* permessage-deflate where the client offers it */
    void (*opened)(void *userdata);
    void (*message)(void *userdata, bool binary, const char *data, size_t length);
    void (*writable)(void *userdata);
    /* The last call, whoever closed; also when the client went before the upgrade. */
    void (*closed)(void *userdata);
};

#define WS_MESSAGE_MAX (128u << 10)

/* Checks the handshake and answers 101. The object lives until ws_free, to be called when the
 * request ends (its state_free) and not before. */
int ws_accept(struct http_request *request, const struct ws_handler *handler, void *userdata,
              struct ws **ret_ws, struct error *err);
void ws_free(struct ws *ws);

/* Binary message of `prefix` byte and data. -EPIPE when it is closed or closing. */
int ws_send(struct ws *ws, unsigned char prefix, const void *data, size_t length);

/* A text message for one or for many: compressed, where a connection has agreed on that, once. */
struct ws_text {
    const char *text;
    size_t length;
    char *deflated; /* NULL: not tried, or not smaller */
    size_t deflated_length;
    bool tried;
};
/* -EPIPE when it is closed or closing. */
int ws_send_text(struct ws *ws, struct ws_text *text);
void ws_text_clear(struct ws_text *text);

/* Bytes not yet taken by the socket. */
size_t ws_queued(const struct ws *ws);

void ws_pause(struct ws *ws, bool paused);

/* Sends what waits and the close frame; `closed` follows within 5 s. */
void ws_close(struct ws *ws, uint16_t code);

/* The close frame as far as it goes out at once, and the end. */
void ws_abort(struct ws *ws, uint16_t code);
