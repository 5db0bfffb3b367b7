/* Theory of operation: see disk.h. The kinds are asked in the order of the table; the first that
 * this state directory can have is taken. */
#include "supervisor/disk.h"

#include "supervisor/idmap.h"
#include "supervisor/pause.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>

static const struct disk_backend *const backends[] = {&disk_project, &disk_btrfs, &disk_image,
                                                      &disk_plain};

const struct disk_backend *disk_by_name(const char *name)
{
    for (size_t i = 0; name && i < ELEMENTS(backends); i++)
        if (str_equal(backends[i]->name, name))
            return backends[i];
    return name ? NULL : &disk_plain;
}

const struct disk_backend *disk_choose_for(const struct config *config, int state_fd,
                                           char *ret_text, size_t size, struct error *err)
{
    const char *wanted = config->disk_backend;
    bool any = str_equal(wanted, "auto");

    for (size_t i = 0; i < ELEMENTS(backends); i++) {
        if (!any && !str_equal(wanted, backends[i]->name))
            continue;
        if (backends[i]->available(state_fd, ret_text, size))
            return backends[i];
        if (!any)
            error_set_field(err, "sandbox.disk_backend", "`%s` does not work here: %s", wanted,
                            ret_text);
    }
    return NULL;
}

int disk_choose(struct supervisor *supervisor, struct error *err)
{
    supervisor->disk = disk_choose_for(&supervisor->config, supervisor->state_fd,
                                       supervisor->disk_text, sizeof(supervisor->disk_text), err);
    return supervisor->disk ? 0 : -err->err;
}

int64_t disk_left(const struct supervisor *supervisor)
{
    struct statvfs status;

    if (fstatvfs(supervisor->state_fd, &status) < 0)
        return -1;
    return (int64_t)(status.f_bavail * status.f_frsize);
}

int disk_check_host(const struct supervisor *supervisor, struct error *err)
{
    int64_t left = disk_left(supervisor);

    if (left < 0)
        return error_sys(err, errno, "statvfs of `%s`", supervisor->config.state_dir);
    if (left >= supervisor->config.disk_reserve)
        return 0;
    return error_set_code(err, ENOSPC, "host_disk_full",
                          "the host's file system of `%s` has %lld MiB left, less than [sandbox] "
                          "disk_reserve (%lld MiB)",
                          supervisor->config.state_dir, (long long)left / 1048576,
                          (long long)supervisor->config.disk_reserve / 1048576);
}

int disk_statfs_root(const struct sandbox *sandbox, struct statfs *ret_status)
{
    char path[48];

    if (!sandbox_lives(sandbox))
        return -ESRCH;
    snprintf(path, sizeof(path), "/proc/%d/root", sandbox->init_pid);
    cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 || fstatfs(root, ret_status) < 0 ? -errno : 0;
}

void disk_usage(const struct sandbox *sandbox, struct disk_usage *ret_usage)
{
    *ret_usage = (struct disk_usage){-1, -1, -1, -1};
    if (sandbox->disk->usage)
        sandbox->disk->usage(sandbox, ret_usage);
}

int disk_usage_add_to(const struct disk_usage *usage, json_t *object)
{
    return json_object_update_new(object, json_pack("{s:I, s:I, s:I, s:I}", "disk_bytes",
                                                    (json_int_t)usage->bytes, "disk_limit_bytes",
                                                    (json_int_t)usage->limit_bytes, "inodes",
                                                    (json_int_t)usage->inodes, "inodes_limit",
                                                    (json_int_t)usage->inodes_limit));
}

int disk_run_tool(int dir_fd, char *const *arguments, int most, struct error *err)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (fchdir(dir_fd) == 0 && setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1) == 0)
            execvp(arguments[0], arguments);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return error_sys(err, errno, "running %s", arguments[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) <= most)
        return 0;
    return error_set(err, EIO, "%s on the disk image: %s", arguments[0],
                     WIFEXITED(status) && WEXITSTATUS(status) == 127 ? "not found (e2fsprogs)"
                                                                     : "failed");
}

int disk_mount_folder(struct sandbox *sandbox, int userns_fd, struct error *err)
{
    return idmap_mount(sandbox->dir_fd, "data", userns_fd, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                       err);
}

int disk_open_folder(struct supervisor *supervisor, const char *id, struct error *err)
{
    char path[SANDBOX_ID_LENGTH + 8];

    snprintf(path, sizeof(path), "%s/data", id);
    int fd =
        openat(supervisor->sandboxes_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? error_sys(err, errno, "open `%s`", path) : fd;
}

/* ---- plain ------------------------------------------------------------------------------------
 */

static bool plain_available(int state_fd, char *ret_text, size_t size)
{
    (void)state_fd;
    snprintf(ret_text, size, "disks of sandboxes have no limit");
    return true;
}

static int plain_create(struct sandbox *sandbox, struct error *err)
{
    return dir_make(sandbox->dir_fd, "data", 0755, err);
}

const struct disk_backend disk_plain = {
    .name = "plain",
    .available = plain_available,
    .create = plain_create,
    .mount = disk_mount_folder,
    .open = disk_open_folder,
};
