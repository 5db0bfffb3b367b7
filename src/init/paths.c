/* Theory of operation: the lexical pass only picks the root and gives a clear error; what keeps an
 * access inside is openat2(RESOLVE_BENEATH) below the root's descriptor, which holds against links
 * that change during the call. The init itself has no capability over files, and takes the user's
 * file system ids for the access, so that it can never do more than the project could itself. */
#include "init/paths.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/protocol.h"
#include "base/spec.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/fsuid.h>

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)

static const char *const roots[] = {PROJECT_DIR, USER_HOME, "/tmp"};

int path_user_enter(void)
{
    setfsgid(USER_ID);
    return setfsuid(USER_ID);
}

void path_user_leave(const int *token)
{
    setfsuid((uid_t)*token);
    setfsgid(0);
}

int path_error(struct error *err, int errnum, const char *step, const char *path)
{
    int positive = errnum < 0 ? -errnum : errnum;

    if (positive == ENOENT)
        return error_set_code(err, ENOENT, "file_not_found", "`%s` does not exist", path);
    if (positive == EXDEV)
        return error_set_code(err, EXDEV, "path_outside_project",
                              "`%s` leads out of the project's folders", path);
    if (positive == ENOSPC || positive == EDQUOT)
        return error_disk_full(err, positive, path);
    return error_sys(err, positive, "%s `%s`", step, path);
}

const char *path_rest(const struct path *path)
{
    return path->full[path->root_length] ? path->full + path->root_length + 1 : ".";
}

/* Appends one part of a path, or takes the last away. */
static int append_part(char *full, size_t *length, const char *part, size_t part_length)
{
    if (part_length == 0 || (part_length == 1 && part[0] == '.'))
        return 0;
    if (part_length == 2 && part[0] == '.' && part[1] == '.') {
        while (*length > 0 && full[--*length] != '/')
            ;
        full[*length] = '\0';
        return 0;
    }
    if (*length + part_length + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    full[(*length)++] = '/';
    memcpy(full + *length, part, part_length);
    *length += part_length;
    full[*length] = '\0';
    return 0;
}

static bool find_root(struct path *path)
{
    for (size_t i = 0; i < ELEMENTS(roots); i++) {
        size_t length = strlen(roots[i]);
        if (strncmp(path->full, roots[i], length) == 0 &&
            (path->full[length] == '\0' || path->full[length] == '/')) {
            path->root_length = length;
            return true;
        }
    }
    return false;
}

int path_parse(const char *text, struct path *ret_path, struct error *err)
{
    struct path path = {.full = ""};
    size_t length = 0;

    if (text[0] != '/')
        length = (size_t)snprintf(path.full, sizeof(path.full), "%s", PROJECT_DIR);
    for (const char *part = text; *part;) {
        size_t part_length = strcspn(part, "/");
        int r = append_part(path.full, &length, part, part_length);
        if (r < 0)
            return path_error(err, r, "resolve", text);
        part += part_length + (part[part_length] == '/');
    }
    if (!find_root(&path))
        return path_error(err, EXDEV, "resolve", text);
    *ret_path = path;
    return 0;
}

static int open_root(const struct path *path, struct error *err)
{
    char root[16];

    snprintf(root, sizeof(root), "%.*s", (int)path->root_length, path->full);
    int fd = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? path_error(err, errno, "open", root) : fd;
}

int path_open(const struct path *path, int flags, struct error *err)
{
    cleanup_close int root = open_root(path, err);
    if (root < 0)
        return root;
    int fd = fd_openat2(root, path_rest(path), flags, 0, BENEATH);
    return fd < 0 ? path_error(err, fd, "open", path->full) : fd;
}

/* Opens every prefix from the root, because a link's target is relative to the whole way to it. */
static int make_folders(int root, const char *folders)
{
    char prefix[PATH_MAX];
    cleanup_close int fd = fd_openat2(root, ".", O_PATH | O_DIRECTORY, 0, BENEATH);

    for (const char *end = folders; fd >= 0 && *end;) {
        const char *part = end + (*end == '/');
        end = strchrnul(part, '/');
        snprintf(prefix, sizeof(prefix), "%.*s", (int)(end - folders), folders);
        int next = fd_openat2(root, prefix, O_PATH | O_DIRECTORY, 0, BENEATH);
        if (next == -ENOENT) {
            if (mkdirat(fd, prefix + (part - folders), 0755) < 0 && errno != EEXIST)
                return -errno;
            next = fd_openat2(root, prefix, O_PATH | O_DIRECTORY, 0, BENEATH);
        }
        if (next < 0)
            return next;
        close(fd);
        fd = next;
    }
    return TAKE_FD(fd);
}

int path_open_parent(const struct path *path, bool make, const char **ret_name, struct error *err)
{
    char folders[PATH_MAX];
    const char *rest = path_rest(path);
    const char *slash = strrchr(rest, '/');

    if (str_equal(rest, "."))
        return error_set(err, EBUSY, "`%s` is a root of the project", path->full);
    snprintf(folders, sizeof(folders), "%.*s", slash ? (int)(slash - rest) : 1, slash ? rest : ".");
    cleanup_close int root = open_root(path, err);
    if (root < 0)
        return root;
    int fd = fd_openat2(root, folders, O_PATH | O_DIRECTORY, 0, BENEATH);
    if (fd == -ENOENT && make)
        fd = make_folders(root, folders);
    if (fd < 0)
        return path_error(err, fd, "open the folder of", path->full);
    *ret_name = slash ? slash + 1 : rest;
    return fd;
}

int path_open_regular(const struct path *path, struct stat *ret_status, struct error *err)
{
    char link[32];
    struct stat status;
    cleanup_close int handle = path_open(path, O_PATH, err);

    if (handle < 0)
        return handle;
    if (fstat(handle, &status) < 0)
        return path_error(err, errno, "stat", path->full);
    if (S_ISDIR(status.st_mode))
        return error_set_code(err, EISDIR, "is_a_directory", "`%s` is a folder", path->full);
    if (!S_ISREG(status.st_mode))
        return error_set_code(err, EINVAL, "not_regular", "`%s` is neither file nor folder",
                              path->full);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
    int fd = open(link, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return path_error(err, errno, "open", path->full);
    *ret_status = status;
    return fd;
}

static const char *type_name(mode_t mode)
{
    if (S_ISREG(mode))
        return "file";
    if (S_ISDIR(mode))
        return "directory";
    return S_ISLNK(mode) ? "symlink" : "other";
}

json_t *path_stat_json(const char *path, const char *name, const struct stat *status)
{
    json_int_t seconds = status->st_mtim.tv_sec, part = status->st_mtim.tv_nsec;

    return json_pack("{s:s, s:s*, s:s, s:I, s:i, s:I, s:I, s:I}", "path", path, "name", name,
                     "type", type_name(status->st_mode), "size", (json_int_t)status->st_size,
                     "mode", (int)(status->st_mode & 07777), "mtime_ms",
                     seconds * 1000 + part / 1000000, "mtime_ns", seconds * 1000000000 + part,
                     "inode", (json_int_t)status->st_ino);
}

/* Bytes of the UTF-8 character at `text` as jansson accepts it, 0: none. */
static size_t character_length(const char *text)
{
    for (size_t length = 1; length <= 4 && text[length - 1]; length++) {
        cleanup_json json_t *value = json_stringn(text, length);
        if (value)
            return length;
    }
    return 0;
}

char *path_shown_name(const char *name)
{
    char *shown = malloc(strlen(name) * 3 + 1);
    char *out = shown;

    while (shown && *name) {
        size_t length = (unsigned char)*name < 0x80 ? 1 : character_length(name);
        memcpy(out, length ? name : "\xef\xbf\xbd", length ? length : 3);
        out += length ? length : 3;
        name += length ? length : 1;
    }
    if (shown)
        *out = '\0';
    return shown;
}

char *path_base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text);
    char *encoded = calloc(1, (length + 2) / 3 * 4 + 1), *out = encoded;

    for (size_t i = 0; encoded && i < length; i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < length ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *out++ = i + k > length ? '=' : digits[bits >> (18 - 6 * k) & 63];
    }
    return encoded;
}
