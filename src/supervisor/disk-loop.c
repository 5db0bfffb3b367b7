/* Theory of operation: see disk-loop.h; loop(4). Device and inode of the file, which
 * LOOP_GET_STATUS64 tells, identify it; /sys/block/loopN/loop/backing_file only saves opening
 * devices of others. A second device on one image would destroy it, so a file that is shown already
 * gets the same device again: ext4 gives one superblock for one device. */
#include "supervisor/disk-loop.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#define DYING_WAIT_NS 5000000
#define DYING_ROUNDS  2000 /* 10 s: what is still to be written back goes to the disk meanwhile */

static bool is_hinted(const char *device, const char *hint)
{
    cleanup_free char *text = NULL;
    char path[96];

    snprintf(path, sizeof(path), "/sys/block/%.40s/loop/backing_file", device);
    return file_read(AT_FDCWD, path, 8192, &text, NULL, NULL) == 0 && strstr(text, hint);
}

static int open_device(unsigned int number, int flags)
{
    char path[32];

    snprintf(path, sizeof(path), "/dev/loop%u", number);
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static bool shows(unsigned int number, const struct stat *file)
{
    struct loop_info64 info;
    cleanup_close int fd = open_device(number, O_RDONLY);

    return fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino;
}

int loop_find(int fd, const char *hint, unsigned int *ret_number)
{
    cleanup_dir DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    struct stat file;
    uint64_t number;

    if (!dir || fstat(fd, &file) < 0)
        return -errno;
    while ((entry = readdir(dir))) {
        if (!str_starts(entry->d_name, "loop") || !is_hinted(entry->d_name, hint) ||
            parse_u64(entry->d_name + 4, 0, 1 << 20, &number) < 0 ||
            !shows((unsigned int)number, &file))
            continue;
        *ret_number = (unsigned int)number;
        return 0;
    }
    return -ENOENT;
}

/* Another may take the free device before us: -EBUSY. */
static int configure_free(int fd, const char *name, unsigned int *ret_number)
{
    struct loop_config config = {
        .fd = (uint32_t)fd,
        .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
    };
    cleanup_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

    if (number < 0)
        return -errno;
    cleanup_close int device = open_device((unsigned int)number, O_RDWR);
    if (device < 0)
        return device;
    snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", name);
    if (ioctl(device, LOOP_CONFIGURE, &config) < 0)
        return -errno;
    *ret_number = (unsigned int)number;
    return TAKE_FD(device);
}

/* A device found, but not there any more when opened, is about to let go of the file. */
static int attach_once(int fd, const char *name, unsigned int *ret_number)
{
    struct stat file;

    if (loop_find(fd, name, ret_number) < 0)
        return configure_free(fd, name, ret_number);
    int device = open_device(*ret_number, O_RDWR);
    if (device < 0)
        return -EBUSY;
    if (fstat(fd, &file) == 0 && shows(*ret_number, &file))
        return device;
    close(device);
    return -EBUSY;
}

int loop_attach(int fd, const char *name, unsigned int *ret_number, struct error *err)
{
    int r = -EBUSY;

    for (int round = 0; r == -EBUSY && round < DYING_ROUNDS; round++) {
        if (round > 0)
            nanosleep(&(struct timespec){.tv_nsec = DYING_WAIT_NS}, NULL);
        r = attach_once(fd, name, ret_number);
    }
    return r < 0 ? error_sys(err, r, "attaching the disk of `%s` to a loop device", name) : r;
}

int loop_resize(int loop_fd, struct error *err)
{
    return ioctl(loop_fd, LOOP_SET_CAPACITY, 0) < 0
               ? error_sys(err, errno, "giving a loop device its new size")
               : 0;
}
