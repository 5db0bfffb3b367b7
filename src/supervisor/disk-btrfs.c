/* Theory of operation. The folder data of a sandbox is a subvolume, and the subvolume's own qgroup
 * limits the bytes that it refers to, metadata included. btrfs counts no inodes: what keeps their
 * number down is that each takes metadata. The kernel tells use and limit in
 * /sys/fs/btrfs/FSID/qgroups/0_SUBVOLUME.
 *
 * Deleting a subvolume is one call, after which the kernel takes its time; kernels before 6.11
 * leave its qgroup behind. */
#include "supervisor/disk.h"

#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <btrfsutil.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define SLACK (4 << 20)

/* The folder of the file system's qgroups; it is there while quotas are enabled. */
static int qgroups_folder(int fd, char *ret_path, size_t size)
{
    struct btrfs_ioctl_fs_info_args info = {0};
    const uint8_t *id = info.fsid;

    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
        return -errno;
    snprintf(ret_path, size,
             "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x/"
             "qgroups",
             id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11],
             id[12], id[13], id[14], id[15]);
    return access(ret_path, F_OK) < 0 ? -errno : 0;
}

static bool btrfs_available(int state_fd, char *ret_text, size_t size)
{
    struct statfs status;
    char path[96];

    if (fstatfs(state_fd, &status) < 0 || status.f_type != BTRFS_SUPER_MAGIC) {
        snprintf(ret_text, size, "the state directory is not on btrfs");
        return false;
    }
    if (qgroups_folder(state_fd, path, sizeof(path)) < 0) {
        snprintf(ret_text, size, "btrfs quotas are not enabled (btrfs quota enable)");
        return false;
    }
    snprintf(ret_text, size, "btrfs qgroups, which limit bytes, metadata included, but no inodes");
    return true;
}

static int set_limit(int data_fd, int64_t bytes, struct error *err)
{
    struct btrfs_ioctl_qgroup_limit_args limit = {
        .qgroupid = 0, /* the subvolume's own */
        .lim = {.flags = BTRFS_QGROUP_LIMIT_MAX_RFER, .max_rfer = (uint64_t)bytes},
    };

    if (ioctl(data_fd, BTRFS_IOC_QGROUP_LIMIT, &limit) < 0)
        return error_set_field(err, "limits.disk", "the kernel refuses the qgroup limit: %s",
                               strerror(errno));
    return 0;
}

static int open_data(int dir_fd, struct error *err)
{
    int fd = openat(dir_fd, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? error_sys(err, errno, "open `data`") : fd;
}

static int btrfs_create(struct sandbox *sandbox, struct error *err)
{
    enum btrfs_util_error failure =
        btrfs_util_create_subvolume_fd(sandbox->dir_fd, "data", 0, NULL, NULL);

    if (failure != BTRFS_UTIL_OK)
        return error_sys(err, errno, "making the subvolume `data`");
    cleanup_close int data = open_data(sandbox->dir_fd, err);
    if (data < 0 || fchmod(data, 0755) < 0)
        return data < 0 ? data : error_sys(err, errno, "chmod `data`");
    return set_limit(data, sandbox->limits.disk, err);
}

static int btrfs_check(const struct limits *from, const struct limits *to, struct error *err)
{
    return from->inodes == to->inodes
               ? 0
               : error_set_field(err, "limits.inodes", "btrfs has no limit of inodes");
}

static int64_t read_figure(const char *folder, uint64_t subvolume, const char *name)
{
    cleanup_free char *text = NULL;
    char path[192];

    snprintf(path, sizeof(path), "%s/0_%" PRIu64 "/%s", folder, subvolume, name);
    if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    return keyed_number(text, NULL);
}

static void btrfs_usage(const struct sandbox *sandbox, struct disk_usage *ret_usage)
{
    char folder[96];
    uint64_t subvolume = 0;
    cleanup_close int data = open_data(sandbox->dir_fd, NULL);

    if (data < 0 || qgroups_folder(data, folder, sizeof(folder)) < 0 ||
        btrfs_util_subvolume_id_fd(data, &subvolume) != BTRFS_UTIL_OK)
        return;
    ret_usage->bytes = read_figure(folder, subvolume, "referenced");
    ret_usage->limit_bytes = read_figure(folder, subvolume, "max_referenced");
}

/* Beyond its limit a subvolume could not even be emptied: deleting needs metadata. */
static int btrfs_change(const struct sandbox *sandbox, const struct limits *from,
                        const struct limits *to, struct error *err)
{
    struct disk_usage usage = {-1, -1, -1, -1};

    if (from->disk == to->disk)
        return 0;
    btrfs_usage(sandbox, &usage);
    if (usage.bytes + SLACK > to->disk && to->disk < from->disk)
        return error_set_field(err, "limits.disk",
                               "%lld bytes are in use, and btrfs needs %d MiB more to delete any",
                               (long long)usage.bytes, SLACK >> 20);
    cleanup_close int data = open_data(sandbox->dir_fd, err);
    return data < 0 ? data : set_limit(data, to->disk, err);
}

/* Kernels that say EBUSY remove it themselves once the subvolume is gone. */
static int remove_qgroup(int fd, uint64_t subvolume, struct error *err)
{
    struct btrfs_ioctl_qgroup_create_args group = {.create = 0, .qgroupid = subvolume};

    if (ioctl(fd, BTRFS_IOC_QGROUP_CREATE, &group) == 0 || errno == EBUSY || errno == ENOENT ||
        errno == ENOTCONN) /* quotas were disabled meanwhile */
        return 0;
    return error_sys(err, errno, "removing qgroup 0/%" PRIu64, subvolume);
}

static int btrfs_release(int dir_fd, uint64_t *state, bool finish, struct error *err)
{
    if (finish)
        return *state ? remove_qgroup(dir_fd, *state, err) : 0;
    cleanup_close int data = open_data(dir_fd, NULL);
    if (data < 0 || btrfs_util_subvolume_id_fd(data, state) != BTRFS_UTIL_OK)
        return 0;
    if (btrfs_util_delete_subvolume_fd(dir_fd, "data", 0) != BTRFS_UTIL_OK)
        return error_sys(err, errno, "deleting the subvolume `data`");
    return 0;
}

const struct disk_backend disk_btrfs = {
    .name = "btrfs",
    .available = btrfs_available,
    .create = btrfs_create,
    .mount = disk_mount_folder,
    .check = btrfs_check,
    .change = btrfs_change,
    .usage = btrfs_usage,
    .open = disk_open_folder,
    .release = btrfs_release,
};
