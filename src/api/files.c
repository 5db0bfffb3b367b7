/* GET and DELETE …/files. A file's bytes come on a descriptor that the init opened inside, so no
 * path is ever resolved out here; what it is is asked of the kernel, not of the init. */
#include "api/handlers.h"

#include "api/file-schema.h"
#include "api/http-file.h"
#include "api/inits.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static void rename_not_found(struct http_request *request, const struct error *err)
{
    struct error own = *err;

    if (str_equal(own.code, "not_found"))
        snprintf(own.code, sizeof(own.code), "file_not_found");
    http_fail(request, &own);
}

static const char *path_of(const struct http_request *request)
{
    return ((const struct file_query *)(const void *)request->query_data.bytes)->path;
}

static void on_listed(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    json_t *entries = json_object_get(result, "entries");

    (void)fds;
    if (!result)
        rename_not_found(request, err);
    else
        http_reply(request, 200,
                   json_pack("{s:s,s:s,s:O,s:b}", "path", path_of(request), "type", "directory",
                             "entries", entries, "more",
                             json_is_true(json_object_get(result, "more"))));
}

static void list(struct http_request *request)
{
    const struct file_query *query = (const void *)request->query_data.bytes;
    json_t *params = json_pack("{s:s,s:s*,s:I}", "path", query->path, "after", query->after,
                               "limit", (json_int_t)(query->limit ? query->limit : FILE_PAGE_MAX));

    init_call(request->api, request->captures[0], "file.list", params, -1, on_listed, request);
}

static bool not_modified(struct http_request *request, const char *etag)
{
    const char *none = http_get_header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);

    return none && etag_listed(none, etag);
}

static void add_headers(struct http_request *request, const char *etag, time_t modified)
{
    char date[32];

    http_date(modified, date);
    http_header(request, MHD_HTTP_HEADER_ETAG, "%s", etag);
    if (date[0])
        http_header(request, MHD_HTTP_HEADER_LAST_MODIFIED, "%s", date);
    http_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    http_header(request, "X-Content-Type-Options", "nosniff");
    http_header(request, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    http_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

/* Which part is asked for; the status to answer with. */
static unsigned int choose_range(struct http_request *request, const char *etag, uint64_t size,
                                 uint64_t *ret_first, uint64_t *ret_last)
{
    const char *range = http_get_header(request, MHD_HTTP_HEADER_RANGE);
    const char *condition = http_get_header(request, MHD_HTTP_HEADER_IF_RANGE);
    int r = range && (!condition || str_equal(condition, etag))
                ? range_parse(range, size, ret_first, ret_last)
                : -ENOENT;

    if (r == 0)
        http_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes %llu-%llu/%llu",
                    (unsigned long long)*ret_first, (unsigned long long)*ret_last,
                    (unsigned long long)size);
    return r == 0 ? 206 : r == -ERANGE ? 416 : 200;
}

static void refuse_range(struct http_request *request, uint64_t size)
{
    struct error err = ERROR_NONE;

    request->n_headers = 0; /* those were the file's */
    http_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */%llu", (unsigned long long)size);
    error_set_code(&err, ERANGE, "range_not_satisfiable", "the file has %llu bytes",
                   (unsigned long long)size);
    http_fail(request, &err);
}

static void send_file(struct http_request *request, int *fd, uint64_t first, uint64_t length,
                      unsigned int status)
{
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(length, *fd, first);

    if (response)
        *fd = -1;
    http_respond(request, status, response);
}

static void answer_file(struct http_request *request, int *fd, const struct stat *stat,
                        const struct file_version *version)
{
    char etag[ETAG_SIZE];
    uint64_t first = 0, last = 0, size = (uint64_t)stat->st_size;

    etag_format(version, etag);
    add_headers(request, etag, stat->st_mtime);
    if (not_modified(request, etag)) {
        http_reply_empty(request, 304);
        return;
    }
    unsigned int status = choose_range(request, etag, size, &first, &last);
    if (status == 416)
        refuse_range(request, size);
    else if (size == 0)
        http_reply_empty(request, 200); /* sending nothing from a descriptor is an error to MHD */
    else
        send_file(request, fd, first, status == 206 ? last - first + 1 : size, status);
}

static void on_opened(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;
    cleanup_close int fd = result ? ipc_fds_take(fds, 0) : -1;
    struct file_version version;
    struct error own = ERROR_NONE;
    struct stat stat;

    if (!result && err->err == EISDIR) {
        list(request);
        return;
    }
    if (!result) {
        rename_not_found(request, err);
        return;
    }
    if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) ||
        file_version_of(json_object_get(result, "file"), &version) < 0) {
        error_set(&own, EPROTO, "the sandbox's init sent no regular file");
        http_fail(request, &own);
        return;
    }
    answer_file(request, &fd, &stat, &version);
}

HANDLER(file_get)
{
    const struct file_query *params = query;

    (void)body;
    (void)err;
    if (params->list)
        list(request);
    else
        init_call(request->api, request->captures[0], "file.read",
                  json_pack("{s:s}", "path", params->path), -1, on_opened, request);
    return 0;
}

static void on_removed(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct http_request *request = userdata;

    (void)fds;
    if (!result)
        rename_not_found(request, err);
    else
        http_reply_empty(request, 204);
}

HANDLER(file_remove)
{
    const struct file_query *params = query;

    (void)body;
    (void)err;
    init_call(request->api, request->captures[0], "file.remove",
              json_pack("{s:s,s:b}", "path", params->path, "recursive", params->recursive), -1,
              on_removed, request);
    return 0;
}
