/* Theory of operation: see idmap.h; mount_setattr(2), user_namespaces(7). */
#include "supervisor/idmap.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>

static int write_map(pid_t pid, const char *file, const char *text, struct error *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    return file_write_existing(AT_FDCWD, path, text, err);
}

int idmap_write(pid_t pid, uint32_t base, struct error *err)
{
    char map[64];

    snprintf(map, sizeof(map), "0 %u %u\n", base, IDMAP_RANGE);
    int r = write_map(pid, "uid_map", map, err);
    if (r == 0)
        r = write_map(pid, "gid_map", map, err);
    return r;
}

/* Takes the mount. */
static int map_ids(int mount_fd, const char *name, int userns_fd, uint64_t attributes,
                   struct error *err)
{
    struct mount_attr change = {
        .attr_set = attributes | MOUNT_ATTR_IDMAP,
        .userns_fd = (uint64_t)userns_fd,
    };
    cleanup_close int fd = mount_fd;

    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &change, sizeof(change)) < 0)
        return error_sys(err, errno, "idmapped mount of `%s`", name);
    return TAKE_FD(fd);
}

int idmap_mount(int dir_fd, const char *path, int userns_fd, uint64_t attributes, struct error *err)
{
    int fd = (int)syscall(SYS_open_tree, dir_fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    return fd < 0 ? error_sys(err, errno, "open_tree `%s`", path)
                  : map_ids(fd, path, userns_fd, attributes, err);
}

int idmap_new_mount(int mount_fd, int userns_fd, struct error *err)
{
    return map_ids(mount_fd, "a new file system", userns_fd, 0, err);
}
