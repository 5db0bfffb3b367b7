/* PUT …/files. The init opens a temporary file beside the target and hands its descriptor out; the
 * body is written to it as it comes in, in constant memory; a commit renames it into place. Until
 * then nobody sees it, and a broken upload is aborted.
 *
 * Order: stat (what is there now), preconditions, open, body, commit. The commit repeats the
 * If-Match check against the version seen, so a change in between is refused, too. */
#include "api/handlers.h"

#include "api/file-schema.h"
#include "api/http-file.h"
#include "api/inits.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/spec.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct upload {
    struct http_request *request;
    const struct file_query *query;
    int fd;
    int64_t mode;      /* -1: not given */
    json_int_t handle; /* 0: no file is open at the init */
    bool exists, match, create_only;
    struct file_version seen;
    int64_t written;
};

static void upload_free(void *state)
{
    struct upload *upload = state;

    close_and_forget(&upload->fd);
    if (upload->handle)
        init_tell(upload->request->api, upload->request->captures[0], "file.abort",
                  json_pack("{s:I}", "handle", upload->handle));
    free(upload);
}

static int check_preconditions(struct upload *upload, struct error *err)
{
    const char *match = http_get_header(upload->request, MHD_HTTP_HEADER_IF_MATCH);
    const char *none = http_get_header(upload->request, MHD_HTTP_HEADER_IF_NONE_MATCH);
    char etag[ETAG_SIZE];

    etag_format(&upload->seen, etag);
    upload->match = match != NULL;
    upload->create_only = none && strchr(none, '*');
    if (match && !(upload->exists && etag_listed(match, etag)))
        return error_set_code(err, EBUSY, "precondition_failed",
                              upload->exists ? "the file has changed" : "there is no such file");
    if (none && upload->exists && etag_listed(none, etag))
        return error_set_code(err, EEXIST, "precondition_failed", "the file exists");
    return 0;
}

static void on_committed(void *userdata, json_t *result, struct ipc_fds *fds,
                         const struct error *err)
{
    struct upload *upload = userdata;
    struct http_request *request = upload->request;
    json_t *file = json_object_get(result, "file");
    struct file_version version;
    char etag[ETAG_SIZE];

    (void)fds;
    if (!result) {
        http_fail(request, err);
        return;
    }
    upload->handle = 0;
    if (file_version_of(file, &version) == 0) {
        etag_format(&version, etag);
        http_header(request, MHD_HTTP_HEADER_ETAG, "%s", etag);
    }
    http_reply(request, upload->exists ? 200 : 201, json_incref(file));
}

static void commit(struct upload *upload)
{
    json_t *params =
        json_pack("{s:I,s:b}", "handle", upload->handle, "create_only", upload->create_only);

    close_and_forget(&upload->fd);
    if (params && upload->match)
        json_object_update_new(params, json_pack("{s:I,s:I,s:I}", "expect_inode",
                                                 (json_int_t)upload->seen.inode, "expect_mtime_ns",
                                                 (json_int_t)upload->seen.mtime_ns, "expect_size",
                                                 (json_int_t)upload->seen.size));
    init_call(upload->request->api, upload->request->captures[0], "file.commit", params, -1,
              on_committed, upload);
}

static int on_body(struct http_request *request, const void *data, size_t length, struct error *err)
{
    struct upload *upload = request->state;
    int64_t max = request->api->config.api_max_upload;

    if (length == 0) {
        commit(upload);
        return 0;
    }
    upload->written += (int64_t)length;
    if (upload->written > max)
        return error_set_code(err, EFBIG, "body_too_large", "the body may have at most %lld bytes",
                              (long long)max);
    int r = fd_write_all(upload->fd, data, length);
    if (r == -ENOSPC || r == -EDQUOT)
        return error_disk_full(err, r, upload->query->path);
    return r < 0 ? error_sys(err, r, "writing `%s`", upload->query->path) : 0;
}

/* It came from a sandbox: a pipe or a terminal in its place would block us. */
static int check_descriptor(int fd)
{
    struct stat stat;
    int flags = fcntl(fd, F_GETFL);

    if (fd < 0 || flags < 0 || fstat(fd, &stat) < 0)
        return -EPROTO;
    return S_ISREG(stat.st_mode) && (flags & O_ACCMODE) != O_RDONLY ? 0 : -EPROTO;
}

static void on_opened(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct upload *upload = userdata;
    struct error own = ERROR_NONE;

    if (!result) {
        http_fail(upload->request, err);
        return;
    }
    upload->fd = ipc_fds_take(fds, 0);
    upload->handle = json_integer_value(json_object_get(result, "handle"));
    if (check_descriptor(upload->fd) < 0) {
        error_set(&own, EPROTO, "the sandbox's init sent no regular file");
        http_fail(upload->request, &own);
        return;
    }
    upload->request->body_write = on_body;
    http_accept_body(upload->request);
}

static void open_target(struct upload *upload)
{
    json_t *params = json_pack("{s:s}", "path", upload->query->path);

    if (params && upload->mode >= 0)
        json_object_set_new(params, "mode", json_integer(upload->mode));
    init_call(upload->request->api, upload->request->captures[0], "file.write", params, -1,
              on_opened, upload);
}

static void on_stat(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct upload *upload = userdata;
    struct error own = ERROR_NONE;

    (void)fds;
    if (!result && err->err != ENOENT) {
        http_fail(upload->request, err);
        return;
    }
    upload->exists = result && file_version_of(json_object_get(result, "file"), &upload->seen) == 0;
    if (check_preconditions(upload, &own) < 0)
        http_fail(upload->request, &own);
    else
        open_target(upload);
}

static void on_folder(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        http_fail(request, err);
    else
        http_reply(request, 201, json_incref(json_object_get(result, "file")));
}

static int parse_mode(const char *text, int64_t *ret_mode, struct error *err)
{
    size_t length = text ? strlen(text) : 0;

    *ret_mode = -1;
    if (!text)
        return 0;
    if (length < 3 || length > 4 || strspn(text, "01234567") != length ||
        strtol(text, NULL, 8) > 0777)
        return error_set_field(err, "?mode", "expected octal permissions from 000 to 0777");
    *ret_mode = strtol(text, NULL, 8);
    return 0;
}

HANDLER(file_put)
{
    const struct file_query *params = query;
    struct upload *upload = calloc(1, sizeof(*upload));

    (void)body;
    if (!upload)
        return error_oom(err);
    *upload = (struct upload){.request = request, .query = params, .fd = -1};
    request->state = upload;
    request->state_free = upload_free;
    int r = parse_mode(params->mode, &upload->mode, err);
    if (r < 0)
        return r;
    if (params->directory)
        init_call(request->api, request->captures[0], "file.mkdir",
                  json_pack("{s:s}", "path", params->path), -1, on_folder, request);
    else
        init_call(request->api, request->captures[0], "file.stat",
                  json_pack("{s:s}", "path", params->path), -1, on_stat, upload);
    return 0;
}
