/* Theory of operation. A tmpfs is given another size through fspick(2) on its root, which is
 * reached from the root of the sandbox's init and refuses links, other mounts' roots apart; so
 * nothing that the sandbox has put there can lead elsewhere, and what is no tmpfs is refused. The
 * kernel itself refuses a size below what is in use. */
#include "supervisor/update.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

static int reconfigure(int fd, int64_t bytes)
{
    char size[24], inodes[24];
    cleanup_close int context = fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);

    snprintf(size, sizeof(size), "%lld", (long long)bytes);
    snprintf(inodes, sizeof(inodes), "%lld", (long long)TMPFS_INODES(bytes));
    if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
        fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", inodes, 0) < 0 ||
        fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
        return -errno;
    return 0;
}

static int resize(int root, const char *path, const char *field, int64_t bytes, struct error *err)
{
    struct statfs status;
    cleanup_close int fd =
        fd_openat2(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

    if (fd < 0 || fstatfs(fd, &status) < 0)
        return error_sys(err, fd < 0 ? fd : errno, "open `/%s` of the sandbox", path);
    if (status.f_type != TMPFS_MAGIC)
        return error_set(err, EINVAL, "`/%s` of the sandbox is no tmpfs", path);
    int r = reconfigure(fd, bytes);
    return r < 0 ? error_set_field(err, field, "the kernel refuses %lld bytes for `/%s`: %s",
                                   (long long)bytes, path, strerror(-r))
                 : 0;
}

int tmpfs_resize(const struct sandbox *sandbox, const struct limits *from, const struct limits *to,
                 struct error *err)
{
    struct limits old = limits_resolved(from), new = limits_resolved(to);
    char path[48];
    int r = 0;

    if (old.tmp == new.tmp && old.shm == new.shm)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/root", sandbox->init_pid);
    cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_sys(err, errno, "open `%s`", path);
    if (old.tmp != new.tmp)
        r = resize(root, "tmp", "limits.tmp", new.tmp, err);
    if (r == 0 && old.shm != new.shm)
        r = resize(root, "dev/shm", "limits.shm", new.shm, err);
    return r;
}
