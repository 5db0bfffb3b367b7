/* Theory of operation. The folder data of a sandbox belongs to a project of its own, and what is
 * made in it inherits that (FS_XFLAG_PROJINHERIT); the project's hard limits (quotactl(2),
 * PRJQUOTA) bind every user, root inside included, and only the host's user namespace can move a
 * file to another project. ext4 and XFS speak the same here.
 *
 * The kernel itself says which project ids are free: one with a limit or a use is somebody's,
 * another instance's or the administrator's. The id of a sandbox is read off its folder, so nothing
 * else has to be kept; it is given back when its files are deleted. */
#include "supervisor/disk.h"

#include "supervisor/idmap.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define BASIC_BLOCK 512 /* the unit of fs_disk_quota */

/* Projects are ours from here on, 2^29 of them; administrators use small numbers. */
#define PROJECT_FIRST 0x40000000u
#define PROJECT_MASK  0x1fffffffu
#define PROJECT_TRIES 64

static int project_quota(int fd, unsigned int command, uint32_t project, void *data)
{
    long r = syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, data);

    return r < 0 ? -errno : 0;
}

static bool project_available(int state_fd, char *ret_text, size_t size)
{
    struct statfs status;
    struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
    const unsigned int needed = FS_QUOTA_PDQ_ACCT | FS_QUOTA_PDQ_ENFD;

    if (fstatfs(state_fd, &status) < 0 ||
        (status.f_type != EXT4_SUPER_MAGIC && status.f_type != XFS_SUPER_MAGIC)) {
        snprintf(ret_text, size, "the state directory is on neither ext4 nor XFS");
        return false;
    }
    int r = project_quota(state_fd, Q_XGETQSTATV, 0, &state);
    if (r < 0 || (state.qs_flags & needed) != needed) {
        snprintf(ret_text, size, "project quotas are not enforced where the state directory is");
        return false;
    }
    snprintf(ret_text, size, "%s project quotas",
             status.f_type == XFS_SUPER_MAGIC ? "XFS" : "ext4");
    return true;
}

static int get_project(int data_fd, uint32_t *ret_project)
{
    struct fsxattr attributes;

    if (ioctl(data_fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return -errno;
    *ret_project = attributes.fsx_projid;
    return attributes.fsx_projid && attributes.fsx_xflags & FS_XFLAG_PROJINHERIT ? 0 : -ENODATA;
}

static int set_project(int data_fd, uint32_t project)
{
    struct fsxattr attributes;

    if (ioctl(data_fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return -errno;
    attributes.fsx_projid = project;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    return ioctl(data_fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

static int set_quota(int fd, uint32_t project, int64_t bytes, int64_t inodes)
{
    struct fs_disk_quota quota = {
        .d_version = FS_DQUOT_VERSION,
        .d_flags = FS_PROJ_QUOTA,
        .d_fieldmask = FS_DQ_BHARD | FS_DQ_IHARD,
        .d_id = project,
        .d_blk_hardlimit = (uint64_t)bytes / BASIC_BLOCK,
        .d_ino_hardlimit = (uint64_t)inodes,
    };

    return project_quota(fd, Q_XSETQLIM, project, &quota);
}

static bool is_free(int fd, uint32_t project)
{
    struct fs_disk_quota quota = {0};
    int r = project_quota(fd, Q_XGETQUOTA, project, &quota);

    if (r == -ENOENT || r == -ESRCH)
        return true;
    return r == 0 && !quota.d_blk_hardlimit && !quota.d_ino_hardlimit && !quota.d_blk_softlimit &&
           !quota.d_ino_softlimit && !quota.d_bcount && !quota.d_icount;
}

/* A first guess from the id, which is random. */
static int find_free(int fd, const char *id, uint32_t *ret_project)
{
    uint32_t hash = 0;

    for (const char *at = id; *at; at++)
        hash = hash * 32 + (uint32_t)(*at >= 'a' ? *at - 'a' : *at - '2' + 26);
    for (unsigned int i = 0; i < PROJECT_TRIES; i++) {
        *ret_project = PROJECT_FIRST | ((hash + i) & PROJECT_MASK);
        if (is_free(fd, *ret_project))
            return 0;
    }
    return -EAGAIN;
}

static int set_limits(int fd, uint32_t project, const struct limits *limits, struct error *err)
{
    struct limits resolved = limits_resolved(limits);
    int r = set_quota(fd, project, resolved.disk, resolved.inodes);

    return r < 0 ? error_set_field(err, "limits.disk", "the kernel refuses the project quota: %s",
                                   strerror(-r))
                 : 0;
}

/* The limits come first: they make the id ours. */
static int project_create(struct sandbox *sandbox, struct error *err)
{
    uint32_t project = 0;
    int r = dir_make(sandbox->dir_fd, "data", 0755, err);

    if (r < 0)
        return r;
    cleanup_close int data =
        openat(sandbox->dir_fd, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (data < 0)
        return error_sys(err, errno, "open `data`");
    r = find_free(data, sandbox->id, &project);
    if (r < 0)
        return error_sys(err, r, "finding a free project id");
    r = set_limits(data, project, &sandbox->limits, err);
    if (r < 0)
        return r;
    r = set_project(data, project);
    return r < 0 ? error_sys(err, r, "giving `data` the project %u", project) : 0;
}

static int open_data(const struct sandbox *sandbox, uint32_t *ret_project, struct error *err)
{
    cleanup_close int data =
        openat(sandbox->dir_fd, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = data < 0 ? -errno : get_project(data, ret_project);

    return r < 0 ? error_sys(err, r, "reading the project of sandbox %s", sandbox->id)
                 : TAKE_FD(data);
}

static int project_change(const struct sandbox *sandbox, const struct limits *from,
                          const struct limits *to, struct error *err)
{
    struct limits old = limits_resolved(from), new = limits_resolved(to);
    uint32_t project = 0;

    if (old.disk == new.disk && old.inodes == new.inodes)
        return 0;
    cleanup_close int data = open_data(sandbox, &project, err);
    return data < 0 ? data : set_limits(data, project, to, err);
}

static void project_usage(const struct sandbox *sandbox, struct disk_usage *ret_usage)
{
    struct fs_disk_quota quota = {0};
    uint32_t project = 0;
    cleanup_close int data = open_data(sandbox, &project, NULL);

    if (data < 0 || project_quota(data, Q_XGETQUOTA, project, &quota) < 0)
        return;
    ret_usage->bytes = (int64_t)quota.d_bcount * BASIC_BLOCK;
    ret_usage->limit_bytes = (int64_t)quota.d_blk_hardlimit * BASIC_BLOCK;
    ret_usage->inodes = (int64_t)quota.d_icount;
    ret_usage->inodes_limit = (int64_t)quota.d_ino_hardlimit;
}

/* One that is still being deleted keeps its id: files of it would count for the next. */
static int project_release(int dir_fd, uint64_t *state, bool finish, struct error *err)
{
    uint32_t project = (uint32_t)*state;
    int r;

    if (finish) {
        r = project ? set_quota(dir_fd, project, 0, 0) : 0;
        return r < 0 ? error_sys(err, r, "giving back project %u", project) : 0;
    }
    cleanup_close int data =
        openat(dir_fd, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *state = data >= 0 && get_project(data, &project) == 0 ? project : 0;
    return 0;
}

const struct disk_backend disk_project = {
    .name = "project",
    .available = project_available,
    .create = project_create,
    .mount = disk_mount_folder,
    .open = disk_open_folder,
    .change = project_change,
    .usage = project_usage,
    .release = project_release,
};
