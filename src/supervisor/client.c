/* Theory of operation: see client.h. A connection that breaks the protocol is closed, not argued
 * with; the program's restart or reconnection gives it a new one. */
#include "supervisor/client.h"

#include "supervisor/operations.h"
#include "supervisor/program.h"

#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/log.h"
#include "base/protocol.h"
#include "base/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct client {
    struct client *next;
    struct supervisor *supervisor;
    struct server_conn conn;
    sd_event_source *source;
};

static void client_free(struct client *client)
{
    for (struct client **link = &client->supervisor->clients; *link; link = &(*link)->next)
        if (*link == client) {
            *link = client->next;
            break;
        }
    sd_event_source_disable_unref(client->source);
    server_conn_close(&client->conn);
    free(client);
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct client *client = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    int r = server_conn_dispatch(&client->conn);
    if (r < 0) {
        if (r != -ECONNRESET)
            log_warning("a program's connection is closed: %s", strerror(-r));
        client_free(client);
    }
    return 0;
}

int client_add(struct supervisor *supervisor, int fd, unsigned int role, struct error *err)
{
    struct client *client = calloc(1, sizeof(*client));

    if (!client) {
        close(fd);
        return error_oom(err);
    }
    client->supervisor = supervisor;
    server_conn_init(&client->conn, fd, role, operations, n_operations, operation_admit,
                     supervisor);
    int r = event_add_ipc(supervisor->event, &client->conn.ipc, on_client, client, &client->source);
    if (r < 0) {
        server_conn_close(&client->conn);
        free(client);
        return error_sys(err, r, "watching a program's connection");
    }
    client->next = supervisor->clients;
    supervisor->clients = client;
    return 0;
}

/* A program has one; another while the loss of the first is not known yet. */
#define CLIENTS_MAX 4

static int count_clients(const struct supervisor *supervisor, unsigned int role)
{
    int count = 0;

    for (const struct client *client = supervisor->clients; client; client = client->next)
        count += client->conn.role == role;
    return count;
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct supervisor *supervisor = userdata;
    struct error err = ERROR_NONE;
    struct ucred peer;
    socklen_t length = sizeof(peer);
    cleanup_close int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)source;
    (void)revents;
    if (connection < 0)
        return 0;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return 0;
    unsigned int role = program_role_of_uid(supervisor, peer.uid);
    if (!role) {
        log_warning("uid %u may not connect to the supervisor", peer.uid);
        return 0;
    }
    if (count_clients(supervisor, role) >= CLIENTS_MAX) {
        log_warning("uid %u has %d connections already", peer.uid, CLIENTS_MAX);
        return 0;
    }
    if (client_add(supervisor, TAKE_FD(connection), role, &err) < 0)
        log_warning("%s", err.message);
    return 0;
}

int clients_listen(struct supervisor *supervisor, struct error *err)
{
    /* anyone may try: SO_PEERCRED decides */
    supervisor->listen_fd = ipc_listen(supervisor->run_fd, "supervisor.sock", 0666, 16, err);
    if (supervisor->listen_fd < 0)
        return supervisor->listen_fd;
    int r = sd_event_add_io(supervisor->event, NULL, supervisor->listen_fd, EPOLLIN, on_connection,
                            supervisor);
    return r < 0 ? error_sys(err, r, "watching `supervisor.sock`") : 0;
}

static void announce(struct client *client, json_t *sandbox)
{
    server_conn_event(&client->conn,
                      json_pack("{s:s, s:O}", "event", "sandbox.state", "sandbox", sandbox));
}

void clients_announce(struct supervisor *supervisor, json_t *full, json_t *brief)
{
    cleanup_json json_t *for_api = full, *for_proxy = brief;

    for (struct client *client = supervisor->clients; client && full && brief;
         client = client->next)
        if (client->conn.greeted)
            announce(client, client->conn.role == ROLE_API ? for_api : for_proxy);
}

void clients_event(struct supervisor *supervisor, json_t *event)
{
    for (struct client *client = supervisor->clients; client && event; client = client->next)
        if (client->conn.greeted)
            server_conn_event(&client->conn, json_incref(event));
    json_decref(event);
}

/* Packets that a busy API has not read yet; to lose the connection would be worse than to lose what
 * comes beyond. */
#define BEHIND 64u

void clients_tell_api(struct supervisor *supervisor, json_t *event)
{
    for (struct client *client = supervisor->clients; client && event; client = client->next)
        if (client->conn.greeted && client->conn.role == ROLE_API &&
            client->conn.ipc.out_count < BEHIND)
            server_conn_event(&client->conn, json_incref(event));
    json_decref(event);
}

void clients_close(struct supervisor *supervisor)
{
    while (supervisor->clients)
        client_free(supervisor->clients);
}
