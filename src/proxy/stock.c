/* Theory of operation: see stock.h. */
#include "proxy/stock.h"

#include <errno.h>
#include <unistd.h>

int stock_take(struct sandbox *sandbox, bool inet6, uint32_t generation, bool *ret_low)
{
    struct stock *stock = &sandbox->stock;
    int fd = -EAGAIN;

    pthread_mutex_lock(&sandbox->lock);
    if (stock->generation == generation) {
        if (inet6 && stock->n_inet6 > 0)
            fd = stock->inet6[--stock->n_inet6];
        else if (!inet6 && stock->n_inet > 0)
            fd = stock->inet[--stock->n_inet];
    }
    *ret_low = stock->n_inet < STOCK_INET / 2 || stock->n_inet6 < STOCK_INET6 / 2;
    pthread_mutex_unlock(&sandbox->lock);
    return fd;
}

void stock_add(struct sandbox *sandbox, bool inet6, uint32_t generation, int fd)
{
    struct stock *stock = &sandbox->stock;

    pthread_mutex_lock(&sandbox->lock);
    if (stock->generation == generation && inet6 && stock->n_inet6 < STOCK_ROOM) {
        stock->inet6[stock->n_inet6++] = fd;
        fd = -1;
    } else if (stock->generation == generation && !inet6 && stock->n_inet < STOCK_ROOM) {
        stock->inet[stock->n_inet++] = fd;
        fd = -1;
    }
    pthread_mutex_unlock(&sandbox->lock);
    if (fd >= 0)
        close(fd);
}

void stock_clear(struct sandbox *sandbox, uint32_t generation)
{
    struct stock *stock = &sandbox->stock;

    pthread_mutex_lock(&sandbox->lock);
    while (stock->n_inet > 0)
        close(stock->inet[--stock->n_inet]);
    while (stock->n_inet6 > 0)
        close(stock->inet6[--stock->n_inet6]);
    stock->generation = generation;
    pthread_mutex_unlock(&sandbox->lock);
}

void stock_missing(struct sandbox *sandbox, unsigned int *ret_inet, unsigned int *ret_inet6)
{
    struct stock *stock = &sandbox->stock;

    pthread_mutex_lock(&sandbox->lock);
    *ret_inet = stock->n_inet < STOCK_INET / 2 ? STOCK_INET : 0;
    *ret_inet6 = stock->n_inet6 < (STOCK_INET6 + 1) / 2 ? STOCK_INET6 : 0;
    pthread_mutex_unlock(&sandbox->lock);
}
