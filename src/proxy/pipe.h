/* Pipes through which the kernel moves a body from one socket to another, without its bytes ever
 * being copied to us. They belong to one thread and are taken only for as long as there is
 * something in them. */
#pragma once

#include "proxy/limits.h"

#include <stddef.h>

struct pipe {
    struct pipe *next; /* in the pool */
    int in, out;       /* to write into, to read from */
    size_t used;       /* bytes in it */
};

struct pipe_pool {
    struct pipe *free;
    unsigned int n_open; /* free or not */
};

/* An empty pipe; NULL: there are PIPES_MAX, or no descriptors are left. */
struct pipe *pipe_take(struct pipe_pool *pool);

/* Back into the pool; one that still holds bytes is closed. NULL is fine. */
void pipe_give(struct pipe_pool *pool, struct pipe *pipe);

void pipe_pool_free(struct pipe_pool *pool);
