/* Theory of operation: see fd.h. Paths are always taken relative to a descriptor. */
#include "base/fd.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int set_flag(int fd, int get, int set, int flag, bool on)
{
    int flags = fcntl(fd, get);

    if (flags < 0)
        return -errno;
    flags = on ? flags | flag : flags & ~flag;
    return fcntl(fd, set, flags) < 0 ? -errno : 0;
}

void fd_raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int fd_set_nonblock(int fd, bool nonblock)
{
    return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, nonblock);
}

int fd_set_cloexec(int fd, bool cloexec)
{
    return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, cloexec);
}

int fd_write_all(int fd, const void *data, size_t length)
{
    const char *position = data;

    while (length > 0) {
        ssize_t n = write(fd, position, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        position += n;
        length -= (size_t)n;
    }
    return 0;
}

int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
        .mode = mode,
        .resolve = resolve,
    };
    long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

static int read_up_to(int fd, size_t max, char **ret_text, size_t *ret_length)
{
    size_t used = 0, size = 4096;
    cleanup_free char *text = malloc(size);

    while (text) {
        ssize_t n = read(fd, text + used, size - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        used += (size_t)n;
        if (used > max)
            return -EFBIG;
        if (n == 0) {
            text[used] = '\0';
            *ret_text = TAKE_PTR(text);
            *ret_length = used;
            return 0;
        }
        if (size - used < 2) {
            char *larger = realloc(text, size *= 2);
            if (!larger)
                break;
            text = larger;
        }
    }
    return -ENOMEM;
}

int file_read(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_length,
              struct error *err)
{
    struct stat status;
    size_t length = 0;
    cleanup_close int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return error_sys(err, errno, "open `%s`", path);
    if (fstat(fd, &status) < 0)
        return error_sys(err, errno, "fstat `%s`", path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, EINVAL, "`%s` is not a regular file", path);
    int r = read_up_to(fd, max, ret_text, &length);
    if (r == -EFBIG)
        return error_set(err, EFBIG, "`%s` is larger than %zu bytes", path, max);
    if (r < 0)
        return error_sys(err, r, "read `%s`", path);
    if (ret_length)
        *ret_length = length;
    return 0;
}

static int write_temporary(int dir_fd, const char *temporary, const char *text, size_t length,
                           mode_t mode)
{
    cleanup_close int fd =
        openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, text, length);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

int file_write_atomic(int dir_fd, const char *name, const char *text, size_t length, mode_t mode,
                      struct error *err)
{
    uint64_t salt = 0;
    if (getrandom(&salt, sizeof(salt), 0) < 0)
        return error_sys(err, errno, "getrandom");
    cleanup_free char *temporary = str_format(".%s.%016llx", name, (unsigned long long)salt);
    if (!temporary)
        return error_oom(err);
    int r = write_temporary(dir_fd, temporary, text, length, mode);
    if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(dir_fd, temporary, 0);
        return error_sys(err, r, "write `%s`", name);
    }
    cleanup_close int folder = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fsync(folder) < 0)
        return error_sys(err, errno, "fsync the folder of `%s`", name);
    return 0;
}

int file_write_existing(int dir_fd, const char *path, const char *text, struct error *err)
{
    cleanup_close int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return error_sys(err, errno, "open `%s`", path);
    if (write(fd, text, strlen(text)) < 0)
        return error_sys(err, errno, "write `%s` to `%s`", text, path);
    return 0;
}

int file_read_json(int dir_fd, const char *path, size_t max, json_t **ret_value, struct error *err)
{
    cleanup_free char *text = NULL;
    size_t length;
    json_error_t problem;

    int r = file_read(dir_fd, path, max, &text, &length, err);
    if (r < 0)
        return r;
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(value)) {
        json_decref(value);
        return error_set(err, EINVAL, "`%s` line %d column %d: %s", path, problem.line,
                         problem.column, value ? "expected an object" : problem.text);
    }
    *ret_value = value;
    return 0;
}

int file_write_json(int dir_fd, const char *name, const json_t *value, mode_t mode,
                    struct error *err)
{
    cleanup_free char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS);

    if (!text)
        return error_oom(err);
    return file_write_atomic(dir_fd, name, text, strlen(text), mode, err);
}

int memfd_sealed(const char *name, const void *data, size_t length, struct error *err)
{
    cleanup_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return error_sys(err, errno, "memfd_create `%s`", name);
    int r = fd_write_all(fd, data, length);
    if (r < 0)
        return error_sys(err, r, "write memfd `%s`", name);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return error_sys(err, errno, "seal memfd `%s`", name);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_sys(err, errno, "rewind memfd `%s`", name);
    return TAKE_FD(fd);
}

int memfd_read(int fd, size_t max, char **ret_text, struct error *err)
{
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;

    if (seals < 0 || (seals & sealed) != sealed || fstat(fd, &status) < 0)
        return error_set(err, EINVAL, "expected a sealed memfd");
    if ((uint64_t)status.st_size > max)
        return error_set(err, EFBIG, "expected at most %zu bytes", max);
    size_t length = (size_t)status.st_size;
    cleanup_free char *text = malloc(length + 1);
    if (!text)
        return error_oom(err);
    /* From the start: whoever was handed it shares its position. */
    if (pread(fd, text, length, 0) != (ssize_t)length)
        return error_set(err, EIO, "reading a memfd");
    text[length] = '\0';
    *ret_text = TAKE_PTR(text);
    return 0;
}

static int remove_contents(int fd, dev_t device, unsigned int depth);

static int remove_entry(int dir_fd, const char *name, dev_t device, unsigned int depth)
{
    struct stat status;

    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0 || status.st_dev != device) {
        close(fd);
        return -EXDEV;
    }
    int r = remove_contents(fd, device, depth + 1);
    if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
        r = -errno;
    return r;
}

/* Takes the descriptor. A project can nest folders deeper than our stack and descriptor limit
 * allow, so past a depth the subtree is first moved up beside its ancestors. */
static int remove_contents(int fd, dev_t device, unsigned int depth)
{
    cleanup_dir DIR *dir = fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    if (!dir) {
        r = -errno;
        close(fd);
        return r;
    }
    if (depth > 200)
        return -ELOOP;
    while (r == 0 && (entry = readdir(dir)))
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            r = remove_entry(dirfd(dir), entry->d_name, device, depth);
    return r;
}

/* Descends to where remove_contents gave up and hoists that folder to the top under a new name. */
static int hoist_deep_folder(int top_fd, unsigned int serial)
{
    char target[32];
    int fd = openat(top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (unsigned int depth = 0; fd >= 0; depth++) {
        DIR *dir = fdopendir(fd);
        struct dirent *entry = NULL;
        while (dir && (entry = readdir(dir)))
            if (entry->d_type == DT_DIR && !str_equal(entry->d_name, ".") &&
                !str_equal(entry->d_name, ".."))
                break;
        if (!entry) {
            closedir(dir);
            return depth > 0 ? 0 : -ELOOP;
        }
        snprintf(target, sizeof(target), ".deep.%u", serial);
        if (depth > 100) {
            int r = renameat(dirfd(dir), entry->d_name, top_fd, target) < 0 ? -errno : 0;
            closedir(dir);
            return r;
        }
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        closedir(dir);
    }
    return -errno;
}

int remove_tree(int dir_fd, const char *name, struct error *err)
{
    struct stat status;
    cleanup_close int top = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (top < 0 && errno == ENOENT)
        return 0;
    if (top < 0 || fstat(top, &status) < 0)
        return error_sys(err, errno, "open `%s`", name);
    for (unsigned int serial = 0;; serial++) {
        int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = fd < 0 ? -errno : remove_contents(fd, status.st_dev, 0);
        if (r == -ELOOP)
            r = hoist_deep_folder(top, serial);
        else if (r == 0)
            break;
        if (r < 0)
            return error_sys(err, r, "remove `%s`", name);
    }
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_sys(err, errno, "rmdir `%s`", name);
    return 0;
}

int dir_make(int dir_fd, const char *path, mode_t mode, struct error *err)
{
    if (mkdirat(dir_fd, path, mode) < 0 && errno != EEXIST)
        return error_sys(err, errno, "mkdir `%s`", path);
    return 0;
}
