/* Theory of operation: see copy.h. A download goes to a hidden file beside its target that is
 * renamed at the end, so a broken connection leaves no half file. */
#include "cli/copy.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE "512"

static char *join(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    bool slash = length > 0 && folder[length - 1] == '/';

    return str_format("%s%s%s", folder, slash || length == 0 ? "" : "/", name);
}

static int put(struct copy *copy, int fd, const struct stat *stat, const char *remote,
               struct error *err)
{
    char mode[8];
    cleanup_file FILE *file = fdopen(fd, "r");

    if (!file) {
        close(fd);
        return error_oom(err);
    }
    snprintf(mode, sizeof(mode), "%04o", stat->st_mode & 0777);
    cleanup_free char *path = cli_query(copy->files_path, "path", remote, "mode", mode, NULL);
    int r = path ? client_put(copy->client, path, file, stat->st_size, err) : error_oom(err);
    if (r == 0)
        copy->copied++;
    return r;
}

int copy_file_in(struct copy *copy, int dir_fd, const char *name, const char *remote,
                 struct error *err)
{
    cleanup_close int fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat stat;

    if (fd < 0 || fstat(fd, &stat) < 0)
        return error_sys(err, errno, "open %s", name);
    if (S_ISDIR(stat.st_mode))
        return error_set(err, EISDIR, "%s is a folder; use -r", name);
    if (!S_ISREG(stat.st_mode))
        return error_set(err, EINVAL, "%s is no regular file", name);
    return put(copy, TAKE_FD(fd), &stat, remote, err);
}

static int folder_in(struct copy *copy, int dir_fd, const char *name, const char *remote, int depth,
                     struct error *err);

static int entry_in(struct copy *copy, int dir_fd, const char *name, const char *remote, int depth,
                    struct error *err)
{
    cleanup_free char *target = join(remote, name);
    struct stat stat;

    if (!target)
        return error_oom(err);
    if (fstatat(dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return error_sys(err, errno, "stat %s", name);
    if (S_ISDIR(stat.st_mode))
        return folder_in(copy, dir_fd, name, target, depth + 1, err);
    if (S_ISREG(stat.st_mode))
        return copy_file_in(copy, dir_fd, name, target, err);
    copy->skipped++;
    return 0;
}

static int folder_in(struct copy *copy, int dir_fd, const char *name, const char *remote, int depth,
                     struct error *err)
{
    cleanup_close int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    int r = 0;

    if (depth > COPY_DEPTH_MAX)
        return error_set(err, ELOOP, "%s: more than %d folders deep", remote, COPY_DEPTH_MAX);
    cleanup_dir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return error_sys(err, errno, "open folder %s", name);
    fd = -1;
    while (r == 0 && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = entry_in(copy, dirfd(dir), entry->d_name, remote, depth, err);
    return r;
}

int copy_folder_in(struct copy *copy, int dir_fd, const char *name, const char *remote,
                   struct error *err)
{
    return folder_in(copy, dir_fd, name, remote, 0, err);
}

static int write_piece(void *userdata, const char *data, size_t length)
{
    return fd_write_all(*(const int *)userdata, data, length);
}

/* A file's bytes come as octets, whatever its name; JSON is the listing of a folder. */
static int refuse_listing(void *userdata, const char *content_type)
{
    (void)userdata;
    return str_starts(content_type, "application/json") ? -EISDIR : 0;
}

static int download(struct copy *copy, const char *remote, int dir_fd, const char *temporary,
                    struct error *err)
{
    cleanup_free char *path = cli_query(copy->files_path, "path", remote, NULL);
    cleanup_close int fd =
        openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);

    if (!path)
        return error_oom(err);
    if (fd < 0)
        return error_sys(err, errno, "create %s", temporary);
    int r = client_get(copy->client, path, refuse_listing, write_piece, &fd, err);
    return r == -EISDIR ? error_set(err, EISDIR, "%s is a folder; use -r", remote) : r;
}

int copy_file_out(struct copy *copy, const char *remote, int dir_fd, const char *name,
                  struct error *err)
{
    const char *slash = strrchr(name, '/');
    int folder_length = slash ? (int)(slash - name) + 1 : 0;
    cleanup_free char *temporary =
        str_format("%.*s.%s.%d.part", folder_length, name, name + folder_length, (int)getpid());

    if (!temporary)
        return error_oom(err);
    int r = download(copy, remote, dir_fd, temporary, err);
    if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
        r = error_sys(err, errno, "rename to %s", name);
    if (r < 0)
        unlinkat(dir_fd, temporary, 0);
    else
        copy->copied++;
    return r;
}

static int folder_out(struct copy *copy, const char *remote, int dir_fd, const char *name,
                      int depth, struct error *err);

static int entry_out(struct copy *copy, const json_t *entry, const char *remote, int dir_fd,
                     int depth, struct error *err)
{
    const char *name = member(entry, "name"), *type = member(entry, "type");
    bool plain =
        name && *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;

    if (!plain)
        return error_set(err, EPROTO, "%s: the listing holds an impossible name", remote);
    cleanup_free char *from = join(remote, name);
    if (!from)
        return error_oom(err);
    if (str_equal(type, "directory"))
        return folder_out(copy, from, dir_fd, name, depth + 1, err);
    if (str_equal(type, "file"))
        return copy_file_out(copy, from, dir_fd, name, err);
    copy->skipped++;
    return 0;
}

static int list_page(struct copy *copy, const char *remote, const char *after, json_t **ret_page,
                     struct error *err)
{
    cleanup_free char *path = cli_query(copy->files_path, "path", remote, "list", "true", "limit",
                                        PAGE, "after", after, NULL);

    return path ? client_json(copy->client, "GET", path, NULL, ret_page, err) : error_oom(err);
}

static int entries_out(struct copy *copy, const char *remote, int dir_fd, int depth,
                       struct error *err)
{
    cleanup_json json_t *page = NULL;
    const char *after = NULL;
    size_t i;
    json_t *entry;

    do {
        json_t *next = NULL;
        int r = list_page(copy, remote, after, &next, err);

        if (r < 0)
            return r;
        json_decref(page);
        page = next;
        const json_t *entries = json_object_get(page, "entries");
        json_array_foreach(entries, i, entry)
        {
            r = entry_out(copy, entry, remote, dir_fd, depth, err);
            if (r < 0)
                return r;
            after = member(entry, "name");
        }
        if (json_array_size(entries) == 0)
            return 0;
    } while (json_is_true(json_object_get(page, "more")));
    return 0;
}

static int folder_out(struct copy *copy, const char *remote, int dir_fd, const char *name,
                      int depth, struct error *err)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0);

    if (depth > COPY_DEPTH_MAX)
        return error_set(err, ELOOP, "%s: more than %d folders deep", remote, COPY_DEPTH_MAX);
    if (mkdirat(dir_fd, name, 0777) < 0 && errno != EEXIST)
        return error_sys(err, errno, "make folder %s", name);
    cleanup_close int fd = openat(dir_fd, name, flags);
    if (fd < 0)
        return error_sys(err, errno, "open folder %s", name);
    return entries_out(copy, remote, fd, depth, err);
}

int copy_folder_out(struct copy *copy, const char *remote, int dir_fd, const char *name,
                    struct error *err)
{
    return folder_out(copy, remote, dir_fd, name, 0, err);
}
