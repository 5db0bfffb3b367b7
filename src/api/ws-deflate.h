/* permessage-deflate (RFC 7692) without context takeover in either direction: every message stands
 * alone, so an idle connection holds no window, and a message for many is compressed once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a handshake's Sec-WebSocket-Extensions is answered with, or NULL: none of its offers is
 * ours. An offer with a parameter that we do not know, or that asks for a smaller window of ours,
 * is passed over. */
const char *ws_deflate_negotiate(const char *offers);

/* A message's payload as it goes into frames with RSV1. Heap; NULL: not smaller, or no memory. */
char *ws_deflate(const char *data, size_t length, size_t *ret_length);

/* The reverse, of at most `max` bytes. Heap, with a NUL after it. -EMSGSIZE, -EPROTO (no deflate
 * stream), -ENOMEM. */
int ws_inflate(const char *data, size_t length, size_t max, char **ret_data, size_t *ret_length);
