/* Ready sockets of a sandbox's network namespace, shared by the threads, so that the supervisor is
 * out of the path of a request. */
#pragma once

#include "proxy/route.h"

/* A socket of that family and generation; -EAGAIN: none in stock. `*ret_low` is set when it is time
 * to ask for more. */
int stock_take(struct sandbox *sandbox, bool inet6, uint32_t generation, bool *ret_low);

/* Adds a socket, or closes it where it does not fit (generation, room). */
void stock_add(struct sandbox *sandbox, bool inet6, uint32_t generation, int fd);

/* Closes all and takes sockets of this generation from now on. */
void stock_clear(struct sandbox *sandbox, uint32_t generation);

/* How many more of each to ask for; 0 if half is still there. */
void stock_missing(struct sandbox *sandbox, unsigned int *ret_inet, unsigned int *ret_inet6);
