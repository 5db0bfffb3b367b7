/* Theory of operation: see pipe.h. A bigger pipe is fewer calls for a body, up to PIPE_SIZE, which
 * also bounds what waits for a slow reader. The kernel lends an unprivileged user so many pages for
 * bigger pipes; beyond, one stays as small as it was made. */
#include "proxy/pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void close_pipe(struct pipe_pool *pool, struct pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    free(pipe);
    pool->n_open--;
}

struct pipe *pipe_take(struct pipe_pool *pool)
{
    struct pipe *pipe = pool->free;
    int ends[2];

    if (pipe) {
        pool->free = pipe->next;
        return pipe;
    }
    if (pool->n_open >= PIPES_MAX || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return NULL;
    pipe = calloc(1, sizeof(*pipe));
    if (!pipe) {
        close(ends[0]);
        close(ends[1]);
        return NULL;
    }
    fcntl(ends[1], F_SETPIPE_SZ, (int)PIPE_SIZE);
    pipe->out = ends[0];
    pipe->in = ends[1];
    pool->n_open++;
    return pipe;
}

void pipe_give(struct pipe_pool *pool, struct pipe *pipe)
{
    if (!pipe)
        return;
    if (pipe->used > 0) {
        close_pipe(pool, pipe);
        return;
    }
    pipe->next = pool->free;
    pool->free = pipe;
}

void pipe_pool_free(struct pipe_pool *pool)
{
    while (pool->free) {
        struct pipe *next = pool->free->next;
        close_pipe(pool, pool->free);
        pool->free = next;
    }
}
