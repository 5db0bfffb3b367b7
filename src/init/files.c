/* Theory of operation: every handler resolves its path as the project's user and answers at once,
 * except the removal of a folder: that may take seconds and so is done by a child process that has
 * become the user for good; it reports its errno through a pipe whose end also tells of its death.
 */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/protocol.h"
#include "base/str.h"
#include "init/conn.h"
#include "init/file-write.h"
#include "init/paths.h"
#include "init/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LIST_LIMIT     512
#define LIST_BYTES_MAX 60000u
#define REMOVALS_MAX   16u

struct path_params {
    const char *path;
    bool flag; /* make_parents of file.mkdir, recursive of file.remove */
};

struct list_params {
    const char *path, *after;
    int64_t limit;
};

struct rename_params {
    const char *from, *to;
};

static int reply_file(struct request *request, const char *path, const struct stat *status,
                      const int *fds, size_t n_fds)
{
    request_reply(request, json_pack("{s:o}", "file", path_stat_json(path, NULL, status)), fds,
                  n_fds);
    return 0;
}

static int open_to_stat(const struct path *path, struct stat *ret_status, struct error *err)
{
    cleanup_close int fd = path_open(path, O_PATH | O_NOFOLLOW, err);

    if (fd < 0)
        return fd;
    if (fstat(fd, ret_status) < 0)
        return path_error(err, errno, "stat", path->full);
    return TAKE_FD(fd);
}

/* Opens the file as `open_file` does and replies with its object and, with `send`, its descriptor.
 */
static int reply_opened(struct request *request, const struct path_params *wanted,
                        int (*open_file)(const struct path *, struct stat *, struct error *),
                        bool send, struct error *err)
{
    path_as_user;
    struct path path;
    struct stat status;

    int r = path_parse(wanted->path, &path, err);
    if (r < 0)
        return r;
    cleanup_close int fd = open_file(&path, &status, err);
    if (fd < 0)
        return fd;
    return reply_file(request, path.full, &status, &fd, send ? 1 : 0);
}

static int file_stat(struct request *request, void *params, struct error *err)
{
    return reply_opened(request, params, open_to_stat, false, err);
}

static int file_read_open(struct request *request, void *params, struct error *err)
{
    return reply_opened(request, params, path_open_regular, true, err);
}

struct entry {
    char *name, *shown;
};

struct listing {
    struct entry entries[LIST_LIMIT + 1]; /* the smallest names, sorted */
    size_t count, limit;
};

static void listing_free(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->entries[i].name);
        free(listing->entries[i].shown);
    }
    free(listing);
}

static bool is_hidden(const char *name)
{
    return str_equal(name, ".") || str_equal(name, "..") ||
           (str_starts(name, FILE_TEMPORARY_PREFIX) && strlen(name) == FILE_TEMPORARY_LENGTH);
}

/* Where `shown` belongs; `count` when behind all. */
static size_t listing_place(const struct listing *listing, const char *shown)
{
    size_t low = 0, high = listing->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(listing->entries[middle].shown, shown) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Keeps the limit + 1 smallest names, so that a huge folder needs no more memory than a page. */
static int listing_add(struct listing *listing, const char *name, const char *after)
{
    cleanup_free char *shown = path_shown_name(name);
    if (!shown)
        return -ENOMEM;
    if (after && strcmp(shown, after) <= 0)
        return 0;
    size_t place = listing_place(listing, shown);
    if (place > listing->limit)
        return 0;
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    if (listing->count > listing->limit) {
        struct entry *last = &listing->entries[--listing->count];
        free(last->name);
        free(last->shown);
    }
    memmove(listing->entries + place + 1, listing->entries + place,
            (listing->count - place) * sizeof(struct entry));
    listing->entries[place] = (struct entry){copy, TAKE_PTR(shown)};
    listing->count++;
    return 0;
}

static int listing_read(struct listing *listing, DIR *folder, const char *after)
{
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(folder);
        if (!found)
            return -errno;
        if (is_hidden(found->d_name))
            continue;
        int r = listing_add(listing, found->d_name, after);
        if (r < 0)
            return r;
    }
}

/* NULL: the entry is gone again (or there is no memory). */
static json_t *entry_json(const struct entry *entry, int folder, const char *path)
{
    struct stat status;

    if (fstatat(folder, entry->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return NULL;
    cleanup_free char *full = str_format("%s/%s", path, entry->shown);
    json_t *value = full ? path_stat_json(full, entry->shown, &status) : NULL;
    if (value && strcmp(entry->name, entry->shown) != 0) {
        cleanup_free char *raw = path_base64(entry->name);
        json_object_set_new(value, "raw", json_string(raw));
    }
    return value;
}

/* Appends the page; returns whether there is more. */
static bool listing_page(const struct listing *listing, int folder, const char *path,
                         json_t *entries)
{
    size_t bytes = 64;

    for (size_t i = 0; i < listing->count; i++) {
        if (i == listing->limit)
            return true;
        cleanup_json json_t *value = entry_json(&listing->entries[i], folder, path);
        if (!value)
            continue;
        bytes += json_dumpb(value, NULL, 0, 0) + 2;
        if (bytes > LIST_BYTES_MAX)
            return true;
        json_array_append(entries, value);
    }
    return false;
}

static int list_folder(struct request *request, struct listing *listing, const char *text,
                       const char *after, struct error *err)
{
    path_as_user;
    struct path path;

    int r = path_parse(text, &path, err);
    if (r < 0)
        return r;
    cleanup_close int fd = path_open(&path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, err);
    if (fd < 0)
        return fd;
    cleanup_dir DIR *folder = fdopendir(fd);
    if (!folder)
        return path_error(err, errno, "list", path.full);
    fd = -1;
    r = listing_read(listing, folder, after);
    if (r < 0)
        return path_error(err, r, "list", path.full);
    json_t *entries = json_array();
    bool more = listing_page(listing, dirfd(folder), path.full, entries);
    request_reply(request, json_pack("{s:o, s:b}", "entries", entries, "more", more), NULL, 0);
    return 0;
}

static int file_list(struct request *request, void *params, struct error *err)
{
    struct list_params *wanted = params;
    struct listing *listing = calloc(1, sizeof(*listing));

    if (!listing)
        return error_oom(err);
    listing->limit = wanted->limit ? (size_t)wanted->limit : LIST_LIMIT;
    int r = list_folder(request, listing, wanted->path, wanted->after, err);
    listing_free(listing);
    return r;
}

static int file_mkdir(struct request *request, void *params, struct error *err)
{
    path_as_user;
    struct path_params *wanted = params;
    struct path path;
    struct stat status;
    const char *name;
    bool parents = !json_is_false(json_object_get(request->body, "make_parents"));

    int r = path_parse(wanted->path, &path, err);
    if (r < 0)
        return r;
    cleanup_close int parent = path_open_parent(&path, parents, &name, err);
    if (parent < 0)
        return parent;
    if (mkdirat(parent, name, 0755) < 0 && (errno != EEXIST || !parents))
        return path_error(err, errno, "mkdir", path.full);
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return path_error(err, errno, "stat", path.full);
    if (!S_ISDIR(status.st_mode))
        return error_set(err, EEXIST, "`%s` exists and is no folder", path.full);
    return reply_file(request, path.full, &status, NULL, 0);
}

static int file_rename(struct request *request, void *params, struct error *err)
{
    path_as_user;
    struct rename_params *wanted = params;
    struct path from, to;
    struct stat status;
    const char *from_name, *to_name;

    int r = path_parse(wanted->from, &from, err);
    if (r >= 0)
        r = path_parse(wanted->to, &to, err);
    if (r < 0)
        return r;
    cleanup_close int from_parent = path_open_parent(&from, false, &from_name, err);
    if (from_parent < 0)
        return from_parent;
    cleanup_close int to_parent = path_open_parent(&to, false, &to_name, err);
    if (to_parent < 0)
        return to_parent;
    if (renameat(from_parent, from_name, to_parent, to_name) < 0) {
        /* Here EXDEV speaks of file systems, not of the project's bounds. */
        r = errno == EXDEV ? EOPNOTSUPP : errno;
        return path_error(err, r, "rename", from.full);
    }
    if (fstatat(to_parent, to_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return path_error(err, errno, "stat", to.full);
    return reply_file(request, to.full, &status, NULL, 0);
}

struct removal {
    struct watch watch; /* the read end of the child's pipe */
    struct request *request;
    char path[PATH_MAX];
};

static unsigned int n_removals;

static void on_removed(struct watch *watch, uint32_t events)
{
    struct removal *removal = (struct removal *)watch;
    struct error err = ERROR_NONE;
    int result = EINTR;

    (void)events;
    if (read(watch->fd, &result, sizeof(result)) != (ssize_t)sizeof(result))
        result = EINTR;
    loop_unwatch(watch);
    close(watch->fd);
    if (result != 0) {
        path_error(&err, result, "remove", removal->path);
        request_fail(removal->request, &err);
    } else {
        request_reply(removal->request, NULL, NULL, 0);
    }
    n_removals--;
    free(removal);
}

/* The child: keeps nothing open but what it needs, so that no pipe's end is delayed by it. */
__attribute__((noreturn)) static void removal_child(int parent, const char *name, int result_fd)
{
    int folder = fcntl(parent, F_DUPFD, 16), out = fcntl(result_fd, F_DUPFD, 16);
    int result = 0;

    if (folder < 0 || out < 0 || dup2(folder, 3) < 0 || dup2(out, 4) < 0 ||
        close_range(5, ~0u, 0) < 0 || setresgid(USER_ID, USER_ID, USER_ID) < 0 ||
        setresuid(USER_ID, USER_ID, USER_ID) < 0)
        _exit(1);
    struct error err = ERROR_NONE;
    if (remove_tree(3, name, &err) < 0)
        result = err.err;
    _exit(write(4, &result, sizeof(result)) == (ssize_t)sizeof(result) ? 0 : 1);
}

static int start_removal(struct request *request, int parent, const char *name,
                         const struct path *path, struct error *err)
{
    int ends[2];

    if (n_removals == REMOVALS_MAX)
        return error_set(err, EAGAIN, "%u folders are being removed", REMOVALS_MAX);
    cleanup_free struct removal *removal = calloc(1, sizeof(*removal));
    if (!removal)
        return error_oom(err);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_sys(err, errno, "pipe2");
    cleanup_close int read_end = ends[0], write_end = ends[1];
    removal->watch = (struct watch){.fd = read_end, .handler = on_removed};
    removal->request = request;
    memcpy(removal->path, path->full, sizeof(path->full));
    int r = loop_watch(&removal->watch, EPOLLIN);
    if (r < 0)
        return error_sys(err, r, "epoll_ctl");
    pid_t pid = fork();
    if (pid == 0)
        removal_child(parent, name, write_end);
    if (pid < 0) {
        r = error_sys(err, errno, "fork");
        loop_unwatch(&removal->watch);
        return r;
    }
    n_removals++;
    TAKE_FD(read_end);
    TAKE_PTR(removal);
    return 0;
}

/* 1: done, 0: `ret_parent` holds a folder that a child shall remove. */
static int remove_now(const struct path *path, bool recursive, int *ret_parent,
                      const char **ret_name, struct error *err)
{
    path_as_user;
    struct stat status;
    const char *name;

    cleanup_close int parent = path_open_parent(path, false, &name, err);
    if (parent < 0)
        return parent;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return path_error(err, errno, "stat", path->full);
    if (!S_ISDIR(status.st_mode) || !recursive) {
        int flags = S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0;
        return unlinkat(parent, name, flags) < 0 ? path_error(err, errno, "remove", path->full) : 1;
    }
    *ret_parent = TAKE_FD(parent);
    *ret_name = name;
    return 0;
}

static int file_remove(struct request *request, void *params, struct error *err)
{
    struct path_params *wanted = params;
    struct path path;
    const char *name = NULL;
    cleanup_close int parent = -1;

    int r = path_parse(wanted->path, &path, err);
    if (r >= 0)
        r = remove_now(&path, wanted->flag, &parent, &name, err);
    if (r < 0)
        return r;
    if (r == 0)
        return start_removal(request, parent, name, &path, err);
    request_reply(request, NULL, NULL, 0);
    return 0;
}

#define PATH_FIELD(type, member)                                                                   \
    {                                                                                              \
#member, FIELD_STRING, offsetof(type, member), .min = 1, .required = true                  \
    }

static const struct field path_only[] = {PATH_FIELD(struct path_params, path)};
static const struct field mkdir_fields[] = {
    PATH_FIELD(struct path_params, path),
    {"make_parents", FIELD_BOOL, offsetof(struct path_params, flag), .required = false},
};
static const struct field remove_fields[] = {
    PATH_FIELD(struct path_params, path),
    {"recursive", FIELD_BOOL, offsetof(struct path_params, flag), .required = false},
};
static const struct field rename_fields[] = {
    PATH_FIELD(struct rename_params, from),
    PATH_FIELD(struct rename_params, to),
};
static const struct field list_fields[] = {
    PATH_FIELD(struct list_params, path),
    {"after", FIELD_STRING, offsetof(struct list_params, after), .required = false},
    {"limit", FIELD_INT, offsetof(struct list_params, limit), .min = 1, .max = LIST_LIMIT},
};
static const struct field write_fields[] = {
    PATH_FIELD(struct file_write_params, path),
    {"mode", FIELD_INT, offsetof(struct file_write_params, mode), .min = 1, .max = 0777},
    {"make_parents", FIELD_BOOL, offsetof(struct file_write_params, make_parents),
     .required = false},
};
static const struct field commit_fields[] = {
    {"handle", FIELD_INT, offsetof(struct file_commit_params, handle), .required = true},
    {"expect_inode", FIELD_INT, offsetof(struct file_commit_params, expect_inode),
     .required = false},
    {"expect_mtime_ns", FIELD_INT, offsetof(struct file_commit_params, expect_mtime_ns),
     .required = false},
    {"expect_size", FIELD_INT, offsetof(struct file_commit_params, expect_size), .required = false},
    {"create_only", FIELD_BOOL, offsetof(struct file_commit_params, create_only),
     .required = false},
};
static const struct field abort_fields[] = {
    {"handle", FIELD_INT, offsetof(struct file_abort_params, handle), .required = true},
};

#define FIELDS(table) table, ELEMENTS(table)

const struct server_op file_ops[] = {
    {"file.stat", ROLE_API, INIT_ANY, FIELDS(path_only), 0, file_stat},
    {"file.read", ROLE_API, INIT_ANY, FIELDS(path_only), 0, file_read_open},
    {"file.list", ROLE_API, INIT_ANY, FIELDS(list_fields), 0, file_list},
    {"file.mkdir", ROLE_API, INIT_ANY, FIELDS(mkdir_fields), 0, file_mkdir},
    {"file.rename", ROLE_API, INIT_ANY, FIELDS(rename_fields), 0, file_rename},
    {"file.remove", ROLE_API, INIT_ANY, FIELDS(remove_fields), 0, file_remove},
    {"file.write", ROLE_API, INIT_ANY, FIELDS(write_fields), 0, file_write_start},
    {"file.commit", ROLE_API, INIT_ANY, FIELDS(commit_fields), 0, file_write_commit},
    {"file.abort", ROLE_API, INIT_ANY, FIELDS(abort_fields), 0, file_write_abort},
};
const size_t n_file_ops = ELEMENTS(file_ops);
