/* Theory of operation: every thread watches every listener, exclusively, so that one connection
 * wakes one thread. The kernel wakes whoever sleeps, which under load is not who has least to do:
 * connections that live long would gather at one thread. So a thread that has more of them than
 * another hands the new one on. */
#include "proxy/listener.h"

#include "proxy/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 4

static void address_text(const struct sockaddr_storage *address, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

    snprintf(text, INET6_ADDRSTRLEN, "unknown");
    if (address->ss_family == AF_INET)
        inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
    else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, INET6_ADDRSTRLEN);
    else if (address->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
}

/* The thread with the fewest clients, if that makes a difference. */
static struct worker *least_loaded(struct worker *own)
{
    struct proxy *proxy = own->proxy;
    struct worker *least = own;

    for (unsigned int i = 0; i < proxy->n_workers; i++)
        if (atomic_load(&proxy->workers[i].n_clients) < atomic_load(&least->n_clients))
            least = &proxy->workers[i];
    return atomic_load(&least->n_clients) + 1 < atomic_load(&own->n_clients) ? least : own;
}

static void place_client(struct worker *own, const struct given *given)
{
    /* A thread that is told to end may have done so. */
    struct worker *worker = atomic_load(&own->proxy->draining) ? own : least_loaded(own);

    client_count(worker, 1);
    if (worker == own || !worker_give(worker, given)) {
        if (worker != own) {
            client_count(worker, -1);
            client_count(own, 1);
        }
        client_new(own, given);
    }
}

void listener_accept(struct worker *worker, const struct peer *listener)
{
    struct proxy *proxy = worker->proxy;

    for (int i = 0; i < BATCH && proxy_has_room(proxy); i++) {
        struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
        socklen_t length = sizeof(address);
        struct given given = {.tls = listener->layer != NULL};

        given.fd = accept4(listener->fd, (struct sockaddr *)&address, &length,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
        /* Out of descriptors: what is open now is all that this process can bear. */
        if (given.fd < 0 && (errno == EMFILE || errno == ENFILE) &&
            atomic_load(&proxy->n_clients) > 0)
            atomic_store(&proxy->clients_max, atomic_load(&proxy->n_clients));
        if (given.fd < 0)
            break;
        address_text(&address, given.address);
        place_client(worker, &given);
    }
    worker_listen(worker);
}
