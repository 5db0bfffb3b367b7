/* The whole API in this process, on its own event loop and libmicrohttpd, with the far ends of the
 * supervisor and of a sandbox's init played from the input. */
#pragma once

#include "fuzz.h"

void api_world_open(void);

/* Sends `stream` on a new connection of an administrator and goes on until nothing moves any more.
 * `answers` are lines, used up in order:
 *     "ok":{...}          members of the answer to the next call, of either far end
 *     @"ok":{...}         ... with a descriptor on a file
 *     !{"event":...}      a packet of the init
 *     <1text              a packet of channel 1 on the stream that the API has handed to the init
 * A call for which no line is left fails. */
void api_world_exchange(struct span stream, struct span answers);
