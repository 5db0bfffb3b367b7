/* Theory of operation: the programs' listening sockets are made here, as root, and kept, so that a
 * program that is started again refuses no connection. After a restart of the supervisor the
 * programs hand them back; each is taken only if the kernel says that it listens where the
 * configuration has it. */
#include "supervisor/program-internal.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int socket_address(const char *text, struct sockaddr_storage *ret_address,
                          socklen_t *ret_length)
{
    struct listen_address parts;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (listen_address_parse(text, &parts) < 0)
        return -EINVAL;
    v4.sin_port = v6.sin6_port = htons(parts.port);
    bool is_v4 = inet_pton(AF_INET, parts.host, &v4.sin_addr) == 1;
    if (!is_v4)
        inet_pton(AF_INET6, parts.host, &v6.sin6_addr);
    *ret_length = is_v4 ? sizeof(v4) : sizeof(v6);
    memcpy(ret_address, is_v4 ? (void *)&v4 : (void *)&v6, *ret_length);
    return 0;
}

static int listen_tcp(const char *text, struct error *err)
{
    struct sockaddr_storage address;
    socklen_t length;
    int on = 1;

    if (socket_address(text, &address, &length) < 0)
        return error_set(err, EINVAL, "`%s` is no ADDRESS:PORT", text);
    cleanup_close int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_sys(err, errno, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* an address may come later than we do, with the network */
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1024) < 0)
        return error_sys(err, errno, "listen on %s", text);
    return TAKE_FD(fd);
}

static int listen_api_socket(struct supervisor *supervisor, gid_t group, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return error_sys(err, errno, "socket");
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/api.sock",
             supervisor->run_fd);
    unlinkat(supervisor->run_fd, "api.sock", 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchownat(supervisor->run_fd, "api.sock", 0, group, 0) < 0 ||
        fchmodat(supervisor->run_fd, "api.sock", 0660, 0) < 0 || listen(fd, 1024) < 0)
        return error_sys(err, errno, "listen on `%s/api.sock`", supervisor->config.run_dir);
    return TAKE_FD(fd);
}

/* Where the configuration has the listener of this name; "": nowhere; NULL: the API's unix socket.
 */
static const char *listener_address(const struct config *config, const char *name)
{
    const struct {
        const char *name, *address;
    } table[] = {{"http-tcp", config->api_listen},
                 {"https-tcp", config->api_tls_listen},
                 {"proxy", config->proxy_listen},
                 {"proxy-tls", config->proxy_tls_listen}};

    for (size_t i = 0; i < ELEMENTS(table); i++)
        if (str_equal(table[i].name, name))
            return table[i].address;
    return NULL;
}

static int open_listener(struct program *program, const char *name, struct error *err)
{
    struct supervisor *supervisor = program->supervisor;
    const char *address = listener_address(&supervisor->config, name);

    if (address)
        return address[0] ? listen_tcp(address, err) : -ENOENT;
    struct group *group = getgrnam(supervisor->config.api_group);
    return listen_api_socket(supervisor, group ? group->gr_gid : 0, err);
}

int program_listeners_open(struct program *program, struct error *err)
{
    for (int i = 0; i < LISTENERS_MAX && program->listener_names[i]; i++) {
        if (program->listeners[i] >= 0)
            continue;
        int fd = open_listener(program, program->listener_names[i], err);
        if (fd < 0 && fd != -ENOENT)
            return fd;
        program->listeners[i] = fd < 0 ? -1 : fd;
    }
    return 0;
}

/* The file that a Unix socket is bound to, as a descriptor (unix(7) lacks it; Linux 4.14). */
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

static bool is_api_socket(const struct supervisor *supervisor, int fd)
{
    struct stat bound, ours;
    cleanup_close int file = ioctl(fd, SIOCUNIXFILE);

    return file >= 0 && fstat(file, &bound) == 0 &&
           fstatat(supervisor->run_fd, "api.sock", &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
           bound.st_dev == ours.st_dev && bound.st_ino == ours.st_ino;
}

static bool is_tcp_at(int fd, const char *listen_text)
{
    struct sockaddr_storage wanted, bound = {0};
    socklen_t wanted_length, length = sizeof(bound);

    return socket_address(listen_text, &wanted, &wanted_length) == 0 &&
           getsockname(fd, (struct sockaddr *)&bound, &length) == 0 && length == wanted_length &&
           memcmp(&bound, &wanted, length) == 0;
}

static bool listens(int fd)
{
    int type = 0, listening = 0;
    socklen_t length = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening;
}

static bool is_listener(const struct program *program, const char *name, int fd)
{
    const char *address = listener_address(&program->supervisor->config, name);

    if (!listens(fd))
        return false;
    return address ? is_tcp_at(fd, address) : is_api_socket(program->supervisor, fd);
}

int program_listener_take(struct program *program, size_t i, const char *name, struct ipc_fds *fds,
                          struct error *err)
{
    char field[32];
    bool known = false;

    snprintf(field, sizeof(field), "listeners[%zu]", i);
    for (int l = 0; l < LISTENERS_MAX; l++) {
        if (!str_equal(name, program->listener_names[l]))
            continue;
        known = true;
        if (program->listeners[l] >= 0 || fds->fd[i] < 0)
            continue;
        if (!is_listener(program, name, fds->fd[i])) {
            if (program->outdated)
                continue; /* where an earlier configuration had it */
            return error_set_field(err, field, "expected the socket that listens as `%s`", name);
        }
        program->listeners[l] = ipc_fds_take(fds, i);
    }
    return known ? 0
                 : error_set_field(err, field, "expected a listening socket of %s", program->name);
}
