/* Theory of operation.
 *
 * STATE/sandboxes/ID/data.img is a sparse ext4 image, several times as large as limits.disk, with
 * as many inodes as limits.inodes (rounded up to a block of them in each group). A worker attaches
 * and mounts it when the sandbox starts. The mount is detached and handed to the stage, so that it
 * is part of no tree but the sandbox's: the kernel takes mount and loop device away with the
 * sandbox's last process, whoever was killed before, and nothing has to be cleaned up.
 *
 * What lies between the limit and the size of the file system are ext4's reserved blocks, which
 * only the host's root could use. Their number is one field of the superblock, which the kernel
 * reads from the device's page cache each time that it looks for room: written there (as tune2fs
 * does), a limit is changed at once, both ways. So that a crash never leaves a superblock with a
 * wrong checksum, the image has none. A limit beyond the size needs a larger file system: while it
 * is mounted by EXT4_IOC_RESIZE_FS, which wants CAP_SYS_RESOURCE, else by resize2fs at the next
 * start. Inodes lie in the groups of the file system: their number grows with its size and cannot
 * be changed otherwise.
 *
 * Space comes back to the host as files are deleted (discard), and at once when the sandbox is
 * removed. A write that the host has no room for would be an I/O error: see disk-guard.c. */
#include "supervisor/disk.h"

#include "supervisor/disk-loop.h"
#include "supervisor/idmap.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define IMAGE       "data.img"
#define NEW_IMAGE   "data.img.new" /* while it is made */
#define BLOCK       4096
#define INODE       256
#define MiB         ((int64_t)1 << 20)
#define JOURNAL     "size=8" /* MiB */
#define HEADROOM    4
#define LEAST_IMAGE (2048 * MiB)
#define OVERHEAD    (32 * MiB) /* journal, ext4's own reserve (16 MiB), and some */
#define MAX_INODES  UINT32_MAX

/* Of the ext4 superblock, which is at byte 1024 of the device (Documentation/filesystems/ext4). */
#define RESERVED_BLOCKS_LO (1024 + 0x8)

/* linux/fs/ext4/ext4.h; in no header for programs on Debian 12. */
#ifndef EXT4_IOC_RESIZE_FS
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#endif

static int64_t image_inodes(const struct limits *limits)
{
    int64_t inodes = limits_resolved(limits).inodes;

    return inodes > MAX_INODES ? MAX_INODES : inodes;
}

/* With the inode tables, maps and overhead. */
static int64_t with_overhead(const struct limits *limits, int64_t data)
{
    return (data + data / 64 + image_inodes(limits) * INODE + OVERHEAD + BLOCK - 1) / BLOCK * BLOCK;
}

/* Room for the limit to be raised; ext4 has at most one inode a block. */
static int64_t image_bytes(const struct limits *limits)
{
    int64_t inodes = image_inodes(limits), data = limits->disk * HEADROOM;

    data = data < LEAST_IMAGE ? LEAST_IMAGE : data;
    return with_overhead(limits, data < inodes * BLOCK ? inodes * BLOCK : data);
}

static int64_t least_bytes(const struct limits *limits)
{
    return with_overhead(limits, limits->disk);
}

/* ---- making and mounting, in workers -----------------------------------------------------------
 */

static int make_file_system(int dir_fd, const struct limits *limits, struct error *err)
{
    char inodes[24], blocks[24];
    char *const arguments[] = {
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        "4096",
        "-I",
        "256",
        "-m",
        "0",
        "-N",
        inodes,
        "-J",
        JOURNAL,
        "-O",
        "^metadata_csum,^resize_inode,meta_bg,uninit_bg",
        "-E",
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard,assume_storage_prezeroed=1",
        NEW_IMAGE,
        blocks,
        NULL};

    snprintf(inodes, sizeof(inodes), "%lld", (long long)image_inodes(limits));
    snprintf(blocks, sizeof(blocks), "%lld", (long long)image_bytes(limits) / BLOCK);
    return disk_run_tool(dir_fd, arguments, 0, err);
}

/* Of an image that is not mounted. resize2fs wants a checked one (status 1: mended), and to e2fsck
 * a superblock that reserves more than half of the blocks is a broken one. */
static int grow_at_rest(int dir_fd, int image_fd, struct error *err)
{
    static const uint32_t none = 0;
    char *const check[] = {"e2fsck", "-f", "-p", IMAGE, NULL};
    char *const resize[] = {"resize2fs", IMAGE, NULL};

    if (pwrite(image_fd, &none, sizeof(none), RESERVED_BLOCKS_LO) != sizeof(none))
        return error_sys(err, errno, "write to the disk image");
    int r = disk_run_tool(dir_fd, check, 1, err);
    return r == 0 ? disk_run_tool(dir_fd, resize, 0, err) : r;
}

static int make_file(int dir_fd, const struct limits *limits, struct error *err)
{
    cleanup_close int fd =
        openat(dir_fd, NEW_IMAGE, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, image_bytes(limits)) < 0)
        return errno == EFBIG
                   ? error_set_field(err, "limits.disk",
                                     "the host's file system holds no file of %lld bytes",
                                     (long long)image_bytes(limits))
                   : error_sys(err, errno, "create `" NEW_IMAGE "`");
    return 0;
}

static int make_image(int dir_fd, const struct limits *limits, struct error *err)
{
    int r = make_file(dir_fd, limits, err);

    if (r == 0)
        r = make_file_system(dir_fd, limits, err);
    if (r == 0 && renameat(dir_fd, NEW_IMAGE, dir_fd, IMAGE) < 0)
        r = error_sys(err, errno, "rename `" NEW_IMAGE "`");
    return r;
}

static int open_image(int dir_fd, struct error *err)
{
    int fd = openat(dir_fd, IMAGE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? error_sys(err, errno, "open `" IMAGE "`") : fd;
}

/* A second mount of a device that is mounted already is one of the same file system. */
static int mount_device(unsigned int number, struct error *err)
{
    static const char *const flags[] = {"discard", "noinit_itable"};
    char device[32];
    cleanup_close int context = fsopen("ext4", FSOPEN_CLOEXEC);

    if (context < 0)
        return error_sys(err, errno, "fsopen `ext4`");
    snprintf(device, sizeof(device), "/dev/loop%u", number);
    int r = fsconfig(context, FSCONFIG_SET_STRING, "source", device, 0);
    if (r == 0)
        r = fsconfig(context, FSCONFIG_SET_STRING, "errors", "remount-ro", 0);
    for (size_t i = 0; r == 0 && i < ELEMENTS(flags); i++)
        r = fsconfig(context, FSCONFIG_SET_FLAG, flags[i], NULL, 0);
    if (r < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return error_sys(err, errno, "mount of `%s`", device);
    int fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    return fd < 0 ? error_sys(err, errno, "fsmount of `%s`", device) : fd;
}

/* Blocks that ext4 keeps for itself, of those that statfs counts. */
static int64_t own_reserve(unsigned int number)
{
    cleanup_free char *text = NULL;
    char path[64];
    int64_t blocks = -1;

    snprintf(path, sizeof(path), "/sys/fs/ext4/loop%u/reserved_clusters", number);
    if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) == 0) {
        text[strcspn(text, "\n")] = '\0';
        blocks = keyed_number(text, NULL);
    }
    return blocks < 0 ? 0 : blocks;
}

/* `status`: of the mounted file system. */
static int set_limit(unsigned int number, const struct statfs *status, const struct limits *limits,
                     struct error *err)
{
    char path[32];
    int64_t blocks = (limits->disk + BLOCK - 1) / BLOCK;
    int64_t reserved = (int64_t)status->f_blocks - own_reserve(number) - blocks;
    uint32_t field = htole32((uint32_t)reserved);

    if (reserved < 0 || reserved > UINT32_MAX)
        return error_set_field(err, "limits.disk", "the disk image has room for %lld bytes",
                               ((long long)blocks + reserved) * BLOCK);
    snprintf(path, sizeof(path), "/dev/loop%u", number);
    cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, &field, sizeof(field), RESERVED_BLOCKS_LO) != sizeof(field))
        return error_set_field(err, "limits.disk", "the kernel refuses it: write to `%s`: %s", path,
                               strerror(errno));
    return 0;
}

/* Makes the file larger if `limits` need that. Returns 1 if it has grown. */
static int grow_file(int image_fd, const struct limits *limits, struct error *err)
{
    struct stat status;

    if (fstat(image_fd, &status) < 0)
        return error_sys(err, errno, "stat of the disk image");
    if (status.st_size >= least_bytes(limits))
        return 0;
    return ftruncate(image_fd, image_bytes(limits)) < 0
               ? error_set_field(err, "limits.disk", "growing the disk image to %lld bytes: %s",
                                 (long long)image_bytes(limits), strerror(errno))
               : 1;
}

/* After a failure the file is as large as before, so that the next try finds it too small. One that
 * is still mounted, by the sandbox's last end, is so for a moment only. */
static int ready_image(int dir_fd, const char *id, const struct limits *limits, struct error *err)
{
    unsigned int number;
    struct stat status;
    cleanup_close int image = open_image(dir_fd, err);

    if (image < 0)
        return image;
    int r = fstat(image, &status) < 0 ? error_sys(err, errno, "stat of the disk image")
                                      : grow_file(image, limits, err);
    if (r == 0)
        return TAKE_FD(image);
    if (r > 0 && loop_find(image, id, &number) == 0)
        r = error_set(err, EBUSY, "the disk of sandbox %s is still in use", id);
    if (r > 0)
        r = grow_at_rest(dir_fd, image, err);
    if (r < 0 && ftruncate(image, status.st_size) < 0)
        error_prefix(err, "the image keeps its new size (%s)", strerror(errno));
    return r < 0 ? r : TAKE_FD(image);
}

/* Attaches, mounts and limits. Returns the mount. */
static int mount_image(int dir_fd, const char *id, const struct limits *limits, struct error *err)
{
    struct statfs status;
    unsigned int number = 0;
    cleanup_close int image = ready_image(dir_fd, id, limits, err);

    if (image < 0)
        return image;
    cleanup_close int loop_fd = loop_attach(image, id, &number, err);
    if (loop_fd < 0)
        return loop_fd;
    cleanup_close int mount_fd = mount_device(number, err);
    int r = mount_fd < 0 ? mount_fd : 0;
    if (r == 0 && fstatfs(mount_fd, &status) < 0)
        r = error_sys(err, errno, "statfs of the disk");
    if (r == 0)
        r = set_limit(number, &status, limits, err);
    return r < 0 ? r : TAKE_FD(mount_fd);
}

static int make_folders(int mount_fd, struct error *err)
{
    int r = dir_make(mount_fd, "upper", 0755, err);

    return r == 0 ? dir_make(mount_fd, "work", 0755, err) : r;
}

static int open_sandbox(const struct supervisor *supervisor, const char *id, struct error *err)
{
    int fd = openat(supervisor->sandboxes_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? error_sys(err, errno, "open the folder of sandbox %s", id) : fd;
}

/* ---- before a start ----------------------------------------------------------------------------
 */

struct preparation {
    struct supervisor *supervisor;
    char id[SANDBOX_ID_LENGTH + 1];
    struct limits limits;
    unsigned int generation;
    disk_ready_fn ready;
    int ours, theirs; /* a pair, over which the mount comes */
};

static int send_mount(struct preparation *preparation, int mount_fd, struct error *err)
{
    struct ipc ipc;
    cleanup_json json_t *message = json_pack("{s:b}", "mounted", 1);

    ipc_init(&ipc, TAKE_FD(preparation->theirs));
    int r = message ? ipc_send(&ipc, message, &mount_fd, 1) : -ENOMEM;
    ipc_close(&ipc);
    return r < 0 ? error_sys(err, r, "handing over the disk of sandbox %s", preparation->id) : 0;
}

static int prepare_job(void *userdata, struct error *err)
{
    struct preparation *preparation = userdata;
    struct stat status;
    cleanup_close int dir = open_sandbox(preparation->supervisor, preparation->id, err);
    int r = dir < 0 ? dir : 0;

    /* of a supervisor that was killed, a worker may still be at it */
    if (r == 0 && flock(dir, LOCK_EX) < 0)
        r = error_sys(err, errno, "locking the folder of sandbox %s", preparation->id);
    if (r == 0 && fstatat(dir, IMAGE, &status, AT_SYMLINK_NOFOLLOW) < 0)
        r = make_image(dir, &preparation->limits, err);
    if (r < 0)
        return r;
    cleanup_close int mount_fd = mount_image(dir, preparation->id, &preparation->limits, err);
    r = mount_fd < 0 ? mount_fd : make_folders(mount_fd, err);
    return r < 0 ? r : send_mount(preparation, mount_fd, err);
}

/* The packet lies there since before the worker ended. */
static int receive_mount(struct preparation *preparation, struct error *err)
{
    struct ipc ipc;
    struct ipc_fds fds = {.count = 0};
    json_t *message = NULL;

    ipc_init(&ipc, TAKE_FD(preparation->ours));
    int r = ipc_receive(&ipc, &message, &fds);
    ipc_close(&ipc);
    json_decref(message);
    if (r == 1 && fds.count == 1)
        return TAKE_FD(fds.fd[0]);
    ipc_fds_close(&fds);
    return error_set(err, EPROTO, "the disk of sandbox %s did not come", preparation->id);
}

static void preparation_free(struct preparation *preparation)
{
    close_and_forget(&preparation->ours);
    close_and_forget(&preparation->theirs);
    free(preparation);
}

static void prepare_done(void *userdata, const struct error *failure)
{
    struct preparation *preparation = userdata;
    struct sandbox *sandbox = sandbox_find(preparation->supervisor, preparation->id);
    struct error err = *failure;

    int fd = err.err ? -1 : receive_mount(preparation, &err);
    bool current = sandbox && sandbox->generation == preparation->generation;
    if (sandbox)
        sandbox->preparing = false;
    if (current) {
        close_and_forget(&sandbox->disk_fd);
        sandbox->disk_fd = TAKE_FD(fd);
        preparation->ready(sandbox, &err);
    }
    close_and_forget(&fd);
    preparation_free(preparation);
}

static int image_prepare(struct sandbox *sandbox, disk_ready_fn ready, struct error *err)
{
    struct preparation *preparation = calloc(1, sizeof(*preparation));
    int pair[2];

    if (!preparation)
        return error_oom(err);
    if (sandbox->preparing) {
        free(preparation);
        return error_set(err, EBUSY,
                         "the disk of sandbox %s is still made ready for its last start",
                         sandbox->id);
    }
    if (ipc_pair(pair) < 0) {
        free(preparation);
        return error_sys(err, errno, "socketpair");
    }
    *preparation = (struct preparation){.supervisor = sandbox->supervisor,
                                        .limits = sandbox->limits,
                                        .generation = sandbox->generation,
                                        .ready = ready,
                                        .ours = pair[0],
                                        .theirs = pair[1]};
    memcpy(preparation->id, sandbox->id, sizeof(preparation->id));
    int r = worker_start(sandbox->supervisor, prepare_job, prepare_done, preparation, err);
    if (r < 0) {
        preparation_free(preparation);
        return r;
    }
    close_and_forget(&preparation->theirs);
    sandbox->preparing = true;
    return 1;
}

static int image_mount(struct sandbox *sandbox, int userns_fd, struct error *err)
{
    return idmap_new_mount(TAKE_FD(sandbox->disk_fd), userns_fd, err);
}

/* ---- limits ------------------------------------------------------------------------------------
 */

static bool image_must_grow(const struct sandbox *sandbox, const struct limits *limits)
{
    struct stat status;

    return sandbox->state == SANDBOX_RUNNING && limits->disk > sandbox->limits.disk &&
           fstatat(sandbox->dir_fd, IMAGE, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           status.st_size < least_bytes(limits);
}

/* To all of the device. */
static int grow_mounted(int loop_fd, int mount_fd, struct error *err)
{
    off_t bytes = lseek(loop_fd, 0, SEEK_END);
    uint64_t blocks = (uint64_t)bytes / BLOCK;
    cleanup_close int root = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (bytes < 0 || root < 0)
        return error_sys(err, errno, "open the disk");
    if (ioctl(root, EXT4_IOC_RESIZE_FS, &blocks) < 0)
        return error_set_field(err, "limits.disk",
                               "the disk image has no room for it, and the kernel does not let it "
                               "grow while the sandbox runs: %s",
                               strerror(errno));
    return 0;
}

/* After a failure the file is as large as before, so that the next try finds it too small. */
static int grow_attached(int image_fd, const char *id, struct error *err)
{
    unsigned int number = 0;
    cleanup_close int loop_fd = loop_attach(image_fd, id, &number, err);
    int r = loop_fd < 0 ? loop_fd : loop_resize(loop_fd, err);

    if (r < 0)
        return r;
    cleanup_close int mount_fd = mount_device(number, err);
    return mount_fd < 0 ? mount_fd : grow_mounted(loop_fd, mount_fd, err);
}

static int image_grow(struct supervisor *supervisor, const char *id, const struct limits *limits,
                      struct error *err)
{
    struct stat status;
    cleanup_close int dir = open_sandbox(supervisor, id, err);
    cleanup_close int image = dir < 0 ? -1 : open_image(dir, err);

    if (image < 0)
        return dir < 0 ? dir : image;
    int r = fstat(image, &status) < 0 ? error_sys(err, errno, "stat of the disk image")
                                      : grow_file(image, limits, err);
    if (r > 0)
        r = grow_attached(image, id, err);
    if (r < 0 && ftruncate(image, status.st_size) < 0)
        error_prefix(err, "the image keeps its new size: %s", strerror(errno));
    return r;
}

static int image_check(const struct limits *from, const struct limits *to, struct error *err)
{
    if (from->inodes == to->inodes)
        return 0;
    return error_set_field(err, "limits.inodes",
                           "a sandbox on a disk image keeps the inodes that it was created with, "
                           "and gets more only with a larger limits.disk");
}

static int set_running(const struct sandbox *sandbox, const struct limits *limits,
                       struct error *err)
{
    struct statfs status;
    unsigned int number = 0;
    cleanup_close int image = open_image(sandbox->dir_fd, err);

    if (image < 0)
        return image;
    int r = loop_find(image, sandbox->id, &number);
    if (r < 0)
        return error_sys(err, r, "finding the loop device of sandbox %s", sandbox->id);
    r = disk_statfs_root(sandbox, &status);
    return r < 0 ? error_sys(err, r, "statfs of sandbox %s", sandbox->id)
                 : set_limit(number, &status, limits, err);
}

/* One at rest takes its limit over when it starts, one that is closed when it is opened. */
static int image_change(const struct sandbox *sandbox, const struct limits *from,
                        const struct limits *to, struct error *err)
{
    if (from->disk == to->disk || sandbox->state != SANDBOX_RUNNING || sandbox->disk_closed)
        return 0;
    return set_running(sandbox, to, err);
}

static int image_close(const struct sandbox *sandbox, bool closed, struct error *err)
{
    struct limits limits = sandbox->limits;
    struct disk_usage usage = {-1, -1, -1, -1};

    disk_usage(sandbox, &usage);
    if (closed && usage.bytes >= 0 && usage.bytes < limits.disk)
        limits.disk = usage.bytes;
    return set_running(sandbox, &limits, err);
}

/* What is in use beyond the limit shows as no room at all. */
static void image_usage(const struct sandbox *sandbox, struct disk_usage *ret_usage)
{
    struct statfs status;

    if (disk_statfs_root(sandbox, &status) < 0)
        return;
    int64_t block = status.f_bsize, room = (int64_t)status.f_bavail * block;
    ret_usage->bytes = (int64_t)(status.f_blocks - status.f_bfree) * block;
    ret_usage->limit_bytes = ret_usage->bytes + room;
    if (room == 0 && sandbox->limits.disk < ret_usage->bytes)
        ret_usage->limit_bytes = sandbox->limits.disk;
    ret_usage->inodes = (int64_t)(status.f_files - status.f_ffree);
    ret_usage->inodes_limit = (int64_t)status.f_files;
}

static int image_open(struct supervisor *supervisor, const char *id, struct error *err)
{
    unsigned int number = 0;
    cleanup_close int dir = open_sandbox(supervisor, id, err);
    cleanup_close int image = dir < 0 ? -1 : open_image(dir, err);

    if (image < 0)
        return dir < 0 ? dir : image;
    cleanup_close int loop_fd = loop_attach(image, id, &number, err);
    return loop_fd < 0 ? loop_fd : mount_device(number, err);
}

static bool image_available(int state_fd, char *ret_text, size_t size)
{
    static const char *const tools[] = {"/usr/sbin/mke2fs", "/sbin/mke2fs"};
    bool found = false;

    (void)state_fd;
    for (size_t i = 0; i < ELEMENTS(tools); i++)
        found = found || access(tools[i], X_OK) == 0;
    cleanup_close int context = fsopen("ext4", FSOPEN_CLOEXEC);
    if (!found)
        snprintf(ret_text, size, "there is no mke2fs (e2fsprogs)");
    else if (access("/dev/loop-control", R_OK | W_OK) < 0)
        snprintf(ret_text, size, "/dev/loop-control: %s", strerror(errno));
    else if (context < 0)
        snprintf(ret_text, size, "the kernel has no ext4");
    else
        snprintf(ret_text, size, "an ext4 image a sandbox, on a loop device");
    return found && context >= 0 && access("/dev/loop-control", R_OK | W_OK) == 0;
}

const struct disk_backend disk_image = {
    .name = "image",
    .available = image_available,
    .prepare = image_prepare,
    .mount = image_mount,
    .check = image_check,
    .must_grow = image_must_grow,
    .grow = image_grow,
    .change = image_change,
    .close = image_close,
    .usage = image_usage,
    .open = image_open,
};
