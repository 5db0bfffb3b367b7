/* Theory of operation: a handle remembers the target's folder by descriptor, the hidden file's name
 * and the connection. It ends with commit, abort or the connection; the hidden file never outlives
 * it. The folder may be moved meanwhile: the file then lands in the moved folder. */
#include "init/file-write.h"

#include "base/cleanup.h"
#include "base/id.h"
#include "base/protocol.h"
#include "init/paths.h"
#include "init/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct handle {
    int64_t id; /* 0: free */
    const struct server_conn *conn;
    int folder;
    char temporary[FILE_TEMPORARY_LENGTH + 1];
    struct path path;
};

static struct handle *handles[FILE_HANDLES_MAX];
static int64_t last_id;

static struct handle **free_place(void)
{
    for (size_t i = 0; i < FILE_HANDLES_MAX; i++)
        if (!handles[i])
            return &handles[i];
    return NULL;
}

static struct handle **find_handle(int64_t id, const struct server_conn *conn)
{
    for (size_t i = 0; i < FILE_HANDLES_MAX; i++)
        if (handles[i] && handles[i]->id == id && handles[i]->conn == conn)
            return &handles[i];
    return NULL;
}

/* Frees the handle and, when it is still there, the hidden file. */
static void drop(struct handle **place)
{
    path_as_user;

    unlinkat((*place)->folder, (*place)->temporary, 0);
    close((*place)->folder);
    free(*place);
    *place = NULL;
}

void file_conn_closed(const struct server_conn *conn)
{
    for (size_t i = 0; i < FILE_HANDLES_MAX; i++)
        if (handles[i] && handles[i]->conn == conn)
            drop(&handles[i]);
}

static const char *target_name(const struct handle *handle)
{
    return strrchr(handle->path.full, '/') + 1;
}

/* The mode the new file shall have; -errno when the target cannot be replaced by a file. */
static int target_mode(const struct handle *handle, int64_t wanted, struct error *err)
{
    struct stat status;

    if (fstatat(handle->folder, target_name(handle), &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? (int)(wanted ? wanted : 0644)
                               : path_error(err, errno, "stat", handle->path.full);
    if (S_ISDIR(status.st_mode))
        return error_set(err, EISDIR, "`%s` is a folder", handle->path.full);
    if (S_ISLNK(status.st_mode)) { /* the link itself is replaced, but none that leads out */
        int fd = path_open(&handle->path, O_PATH, err);
        if (fd < 0 && fd != -ENOENT)
            return fd;
        if (fd >= 0)
            close(fd);
    }
    if (wanted)
        return (int)wanted;
    return S_ISREG(status.st_mode) ? (int)(status.st_mode & 0777) : 0644;
}

static int make_temporary(struct handle *handle, mode_t mode, struct error *err)
{
    char id[SANDBOX_ID_LENGTH + 1];
    int r = sandbox_id_new(id);
    if (r < 0)
        return error_sys(err, r, "getrandom");
    snprintf(handle->temporary, sizeof(handle->temporary), FILE_TEMPORARY_PREFIX "%.8s", id);
    cleanup_close int fd = openat(handle->folder, handle->temporary,
                                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return path_error(err, errno, "create a file beside", handle->path.full);
    if (fchmod(fd, mode) < 0) {
        r = path_error(err, errno, "chmod a file beside", handle->path.full);
        unlinkat(handle->folder, handle->temporary, 0);
        return r;
    }
    return TAKE_FD(fd);
}

/* Returns the descriptor to write to. */
static int open_handle(struct handle *handle, const struct file_write_params *params,
                       struct error *err)
{
    path_as_user;
    const char *name;

    int r = path_parse(params->path, &handle->path, err);
    if (r < 0)
        return r;
    handle->folder = path_open_parent(&handle->path, params->make_parents, &name, err);
    if (handle->folder < 0)
        return handle->folder;
    r = target_mode(handle, params->mode, err);
    if (r >= 0)
        r = make_temporary(handle, (mode_t)r, err);
    if (r < 0)
        close(handle->folder);
    return r;
}

int file_write_start(struct request *request, void *params, struct error *err)
{
    struct file_write_params *wanted = params;
    struct handle **place = free_place();

    if (!place)
        return error_set(err, EAGAIN, "more than %u files are being written", FILE_HANDLES_MAX);
    wanted->make_parents = !json_is_false(json_object_get(request->body, "make_parents"));
    cleanup_free struct handle *handle = calloc(1, sizeof(*handle));
    if (!handle)
        return error_oom(err);
    cleanup_close int fd = open_handle(handle, wanted, err);
    if (fd < 0)
        return fd;
    handle->id = ++last_id;
    handle->conn = request->conn;
    *place = TAKE_PTR(handle);
    request_reply(request, json_pack("{s:I}", "handle", (json_int_t)last_id), &fd, 1);
    return 0;
}

/* If-Match: the target is still what the client saw. */
static int check_expectation(const struct handle *handle, const json_t *body,
                             const struct file_commit_params *params, struct error *err)
{
    struct stat status;
    bool inode = json_is_integer(json_object_get(body, "expect_inode"));
    bool mtime = json_is_integer(json_object_get(body, "expect_mtime_ns"));
    bool size = json_is_integer(json_object_get(body, "expect_size"));

    if (!inode && !mtime && !size)
        return 0;
    bool same = fstatat(handle->folder, target_name(handle), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                (!inode || (int64_t)status.st_ino == params->expect_inode) &&
                (!size || status.st_size == params->expect_size) &&
                (!mtime || (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec ==
                               params->expect_mtime_ns);
    return same ? 0
                : error_set_code(err, EBUSY, "precondition_failed",
                                 "`%s` is not the file that was expected", handle->path.full);
}

static int put_in_place(const struct handle *handle, const json_t *body,
                        const struct file_commit_params *params, struct stat *ret_status,
                        struct error *err)
{
    path_as_user;
    const char *name = target_name(handle);
    int r = check_expectation(handle, body, params, err);

    if (r < 0)
        return r;
    if (renameat2(handle->folder, handle->temporary, handle->folder, name,
                  params->create_only ? RENAME_NOREPLACE : 0) < 0)
        return errno == EEXIST ? error_set(err, EEXIST, "`%s` exists", handle->path.full)
                               : path_error(err, errno, "rename to", handle->path.full);
    if (fstatat(handle->folder, name, ret_status, AT_SYMLINK_NOFOLLOW) < 0)
        return path_error(err, errno, "stat", handle->path.full);
    return 0;
}

int file_write_commit(struct request *request, void *params, struct error *err)
{
    struct file_commit_params *wanted = params;
    struct handle **place = find_handle(wanted->handle, request->conn);
    struct stat status;

    if (!place)
        return error_set_code(err, ENOENT, "handle_not_found", "there is no such handle");
    int r = put_in_place(*place, request->body, wanted, &status, err);
    json_t *file = r < 0 ? NULL : path_stat_json((*place)->path.full, NULL, &status);
    drop(place);
    if (r < 0)
        return r;
    request_reply(request, json_pack("{s:o}", "file", file), NULL, 0);
    return 0;
}

int file_write_abort(struct request *request, void *params, struct error *err)
{
    struct file_abort_params *wanted = params;
    struct handle **place = find_handle(wanted->handle, request->conn);

    if (!place)
        return error_set_code(err, ENOENT, "handle_not_found", "there is no such handle");
    drop(place);
    request_reply(request, NULL, NULL, 0);
    return 0;
}
