/* Theory of operation: see access-log.h. Whoever still has a descriptor of a file that was renamed
 * writes on into that file, so no line is lost or doubled, whenever the proxy, its successor or a
 * predecessor that leaves comes to take the next one. */
#include "supervisor/access-log.h"

#include "supervisor/client.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FLAGS (O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)

static int open_file(const char *path, struct error *err)
{
    struct stat status;
    cleanup_close int fd = open(path, FLAGS, 0640);

    if (fd < 0 || fstat(fd, &status) < 0) {
        error_sys(err, errno, "open `%s`", path);
        return error_prefix(err, "proxy.access_log");
    }
    if (!S_ISREG(status.st_mode))
        return error_set_field(err, "proxy.access_log", "`%s` is no regular file", path);
    return TAKE_FD(fd);
}

int access_log_open(struct supervisor *supervisor, struct error *err)
{
    const char *path = supervisor->config.proxy_access_log;

    if (!path[0])
        return 0;
    supervisor->access_log_fd = open_file(path, err);
    return supervisor->access_log_fd < 0 ? supervisor->access_log_fd : 0;
}

static int open_again(struct supervisor *supervisor, struct error *err)
{
    int fd = open_file(supervisor->config.proxy_access_log, err);

    if (fd < 0)
        return fd;
    close(supervisor->access_log_fd);
    supervisor->access_log_fd = fd;
    return 0;
}

int access_log_reopen(struct supervisor *supervisor, struct error *err)
{
    if (supervisor->access_log_fd < 0)
        return 0;
    int r = open_again(supervisor, err);
    if (r == 0)
        clients_event(supervisor, json_pack("{s:s}", "event", "log.changed"));
    return r;
}

static bool has_grown(const struct supervisor *supervisor)
{
    struct stat status;

    return fstat(supervisor->access_log_fd, &status) == 0 &&
           status.st_size >= supervisor->config.proxy_access_log_size;
}

/* FILE.`i` (0: FILE) becomes the next one. */
static int age(const char *path, int64_t i, struct error *err)
{
    cleanup_free char *from =
        i > 0 ? str_format("%s.%lld", path, (long long)i) : str_format("%s", path);
    cleanup_free char *to = str_format("%s.%lld", path, (long long)i + 1);

    if (!from || !to)
        return error_oom(err);
    if (rename(from, to) < 0 && errno != ENOENT)
        return error_sys(err, errno, "rename `%s` to `%s`", from, to);
    return 0;
}

static int rotate(struct supervisor *supervisor, struct error *err)
{
    const char *path = supervisor->config.proxy_access_log;
    int r = 0;

    for (int64_t i = supervisor->config.proxy_access_log_keep - 1; r == 0 && i >= 0; i--)
        r = age(path, i, err);
    return r < 0 ? r : open_again(supervisor, err);
}

int op_log_get(struct request *request, void *params, struct error *err)
{
    struct supervisor *supervisor = request->conn->userdata;

    (void)params;
    if (supervisor->access_log_fd < 0)
        return error_set_code(err, ENOENT, "not_configured", "[proxy] names no access_log");
    int r = has_grown(supervisor) ? rotate(supervisor, err) : 0;
    if (r < 0) {
        log_error("rotating the access log: %s", err->message);
        return r;
    }
    request_reply(request, NULL, &supervisor->access_log_fd, 1);
    return 0;
}
