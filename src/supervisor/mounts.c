/* Theory of operation.
 *
 * A small tmpfs over /tmp of the copied mount tree is the scaffold: there the idmapped layers get
 * names, the overlay is mounted from them (inside the user namespace, so it is writable), and the
 * generated files of /etc lie. Then a table of steps fills the new root. Every target below the
 * root is opened with openat2 that refuses links and leaving, and a mount is moved onto that
 * descriptor, so a project that replaced /dev or /proc by a link gets an error and no more. Last,
 * pivot_root and the old root is gone. */
#include "supervisor/mounts.h"

#include "supervisor/grouped.h"
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define RESOLVE_TARGET (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

struct view {
    const struct stage *stage;
    int scaffold; /* root of the scaffold tmpfs */
    int root;     /* root of the overlay */
    struct error *err;
};

/* A detached mount of a new file system; `options` is "key=value,flag,...". */
static int new_mount(const char *type, const char *options, uint64_t attributes, struct error *err)
{
    cleanup_close int context = fsopen(type, FSOPEN_CLOEXEC);
    char text[256], *save = NULL;

    if (context < 0)
        return error_sys(err, errno, "fsopen `%s`", type);
    snprintf(text, sizeof(text), "%s", options);
    for (char *option = strtok_r(text, ",", &save); option; option = strtok_r(NULL, ",", &save)) {
        char *value = strchr(option, '=');
        if (value)
            *value++ = '\0';
        if (fsconfig(context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option, value, 0) <
            0)
            return error_sys(err, errno, "%s option `%s`", type, option);
    }
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return error_sys(err, errno, "create `%s`", type);
    int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned int)attributes);
    return fd < 0 ? error_sys(err, errno, "fsmount `%s`", type) : fd;
}

static int attach(int mount_fd, int target_fd, const char *name, struct error *err)
{
    if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
        0)
        return error_sys(err, errno, "move_mount onto `/%s`", name);
    return 0;
}

static int open_target(const struct view *view, const char *path, int flags)
{
    return fd_openat2(view->root, path, O_PATH | O_NOFOLLOW | flags, 0, RESOLVE_TARGET);
}

static int make_scaffold(struct error *err)
{
    cleanup_close int mount_fd =
        new_mount("tmpfs", "size=1M,mode=0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);

    if (mount_fd < 0)
        return mount_fd;
    if (move_mount(mount_fd, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_sys(err, errno, "move_mount onto the host's `/tmp`");
    if (fchdir(mount_fd) < 0)
        return error_sys(err, errno, "fchdir to the scaffold");
    return TAKE_FD(mount_fd);
}

static int attach_layer(int mount_fd, const char *name, struct error *err)
{
    int r = dir_make(AT_FDCWD, name, 0755, err);

    if (r == 0 && move_mount(mount_fd, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        r = error_sys(err, errno, "move_mount of layer `%s`", name);
    return r;
}

/* Names are relative to the scaffold, which is the working directory. */
static int mount_overlay(const struct view *view, const int *layers, int data)
{
    char options[512] = "userxattr,upperdir=data/upper,workdir=data/work,lowerdir=", name[24];

    for (size_t i = view->stage->n_layers; i-- > 0;) {
        snprintf(name, sizeof(name), "l%zu", i);
        int r = attach_layer(layers[i], name, view->err);
        if (r < 0)
            return r;
        size_t used = strlen(options);
        snprintf(options + used, sizeof(options) - used, "%s%s", name, i ? ":" : "");
    }
    int r = attach_layer(data, "data", view->err);
    if (r == 0)
        r = dir_make(AT_FDCWD, "root", 0755, view->err);
    if (r == 0 && mount("auracode", "root", "overlay", MS_NOSUID | MS_NODEV, options) < 0)
        r = error_sys(view->err, errno, "overlay mount (%s)", options);
    return r;
}

/* ---- file systems ------------------------------------------------------------------------- */

struct file_system {
    const char *target, *type, *options;
    uint64_t attributes;
};

#define PLAIN (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static const struct file_system file_systems[] = {
    {"proc", "proc", "", PLAIN | MOUNT_ATTR_NOEXEC},
    {"sys", "sysfs", "", PLAIN | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY},
    {"dev", "tmpfs", "size=64K,nr_inodes=64,mode=0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC},
    {"run", "tmpfs", "size=8M,nr_inodes=4096,mode=0755", PLAIN},
};

static int mount_file_systems(const struct view *view)
{
    for (size_t i = 0; i < ELEMENTS(file_systems); i++) {
        const struct file_system *entry = &file_systems[i];
        cleanup_close int target = open_target(view, entry->target, O_DIRECTORY);
        if (target < 0)
            return error_sys(view->err, target, "open `/%s` of the sandbox", entry->target);
        cleanup_close int mount_fd =
            new_mount(entry->type, entry->options, entry->attributes, view->err);
        int r = mount_fd < 0 ? mount_fd : attach(mount_fd, target, entry->target, view->err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* /tmp and /dev/shm, whose sizes depend on the sandbox's memory. */
static int mount_sized(const struct view *view, const char *path, size_t bytes)
{
    char options[96];
    cleanup_close int target = open_target(view, path, O_DIRECTORY);

    if (target < 0)
        return error_sys(view->err, target, "open `/%s` of the sandbox", path);
    snprintf(options, sizeof(options), "size=%zu,nr_inodes=%zu,mode=1777", bytes,
             TMPFS_INODES(bytes));
    cleanup_close int mount_fd = new_mount("tmpfs", options, PLAIN, view->err);
    return mount_fd < 0 ? mount_fd : attach(mount_fd, target, path, view->err);
}

/* ---- /dev --------------------------------------------------------------------------------- */

struct device {
    const char *name;
    unsigned int major, minor;
};

static const struct device devices[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct {
    const char *name, *content;
} device_links[] = {
    {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
};

/* A copy of the host's device node, which must be the very device that the table names. */
static int clone_device(const struct device *device, struct error *err)
{
    char path[32];
    struct stat status;

    snprintf(path, sizeof(path), "/dev/%s", device->name);
    cleanup_close int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_sys(err, errno, "open_tree `%s`", path);
    if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(device->major, device->minor))
        return error_set(err, ENODEV, "`%s` of the host is not the device %u:%u", path,
                         device->major, device->minor);
    return TAKE_FD(fd);
}

static int add_device(const struct view *view, int dev, const struct device *device)
{
    cleanup_close int node =
        openat(dev, device->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);

    if (node < 0)
        return error_sys(view->err, errno, "create `/dev/%s`", device->name);
    cleanup_close int mount_fd = clone_device(device, view->err);
    return mount_fd < 0 ? mount_fd : attach(mount_fd, node, device->name, view->err);
}

static int fill_dev(const struct view *view)
{
    cleanup_close int dev =
        fd_openat2(view->root, "dev", O_RDONLY | O_DIRECTORY, 0, RESOLVE_TARGET);
    int r = dev < 0 ? error_sys(view->err, dev, "open `/dev` of the sandbox") : 0;

    for (size_t i = 0; r == 0 && i < ELEMENTS(devices); i++)
        r = add_device(view, dev, &devices[i]);
    for (size_t i = 0; r == 0 && i < ELEMENTS(device_links); i++)
        if (symlinkat(device_links[i].content, dev, device_links[i].name) < 0)
            r = error_sys(view->err, errno, "symlink `/dev/%s`", device_links[i].name);
    if (r == 0)
        r = dir_make(dev, "pts", 0755, view->err);
    if (r == 0)
        r = dir_make(dev, "shm", 0755, view->err);
    if (r < 0)
        return r;
    cleanup_close int target = open_target(view, "dev/pts", O_DIRECTORY);
    cleanup_close int pts = new_mount("devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5",
                                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, view->err);
    return pts < 0 ? pts : attach(pts, target, "dev/pts", view->err);
}

/* ---- generated files of /etc ---------------------------------------------------------------- */

static int bind_file(const struct view *view, const char *name, const char *text)
{
    char path[64];
    struct stat status;
    struct mount_attr read_only = {.attr_set = PLAIN | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC};

    snprintf(path, sizeof(path), "etc/%s", name);
    cleanup_close int target = open_target(view, path, 0);
    if (target < 0 || fstat(target, &status) < 0 || !S_ISREG(status.st_mode))
        return 0; /* the image or its user has put something else there: theirs then */
    int r = file_write_atomic(view->scaffold, name, text, strlen(text), 0644, view->err);
    if (r < 0)
        return r;
    cleanup_close int mount_fd =
        open_tree(view->scaffold, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (mount_fd < 0 ||
        mount_setattr(mount_fd, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
        return error_sys(view->err, errno, "bind mount for `/%s`", path);
    return attach(mount_fd, target, path, view->err);
}

static int bind_files(const struct view *view)
{
    char hostname[80];

    snprintf(hostname, sizeof(hostname), "%s\n", view->stage->hostname);
    int r = bind_file(view, "hostname", hostname);
    if (r == 0)
        r = bind_file(view, "hosts", view->stage->hosts);
    return r == 0 ? bind_file(view, "resolv.conf", view->stage->resolv_conf) : r;
}

/* ---- hidden and read-only paths ---------------------------------------------------------------
 */

/* Files are covered by /dev/null, folders by an empty file system. */
static int mask_mount(const struct stat *status, struct error *err)
{
    static const struct device null = {"null", 1, 3};

    if (S_ISDIR(status->st_mode))
        return new_mount("tmpfs", "size=4K,nr_inodes=2,mode=0555", PLAIN | MOUNT_ATTR_RDONLY, err);
    return clone_device(&null, err);
}

static int mask_path(const struct view *view, const char *path)
{
    struct stat status;
    cleanup_close int target = open_target(view, path, 0);

    if (target == -ENOENT)
        return 0; /* not on this kernel */
    if (target < 0 || fstat(target, &status) < 0)
        return error_sys(view->err, target < 0 ? target : errno, "open `/%s`", path);
    cleanup_close int mount_fd = mask_mount(&status, view->err);
    return mount_fd < 0 ? mount_fd : attach(mount_fd, target, path, view->err);
}

static int make_read_only(const struct view *view, const char *path)
{
    struct mount_attr read_only = {.attr_set = PLAIN | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC};
    cleanup_close int target = open_target(view, path, 0);

    if (target == -ENOENT)
        return 0; /* not on this kernel */
    if (target < 0)
        return error_sys(view->err, target, "open `/%s`", path);
    cleanup_close int mount_fd =
        open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (mount_fd < 0 ||
        mount_setattr(mount_fd, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
        return error_sys(view->err, errno, "read-only bind of `/%s`", path);
    return attach(mount_fd, target, path, view->err);
}

struct cover {
    const struct view *view;
    int (*run)(const struct view *view, const char *path);
};

/* The path without its leading slash: relative to the root. */
static int cover_path(void *context, const char *path, const char *field, struct error *err)
{
    const struct cover *cover = context;

    (void)field;
    (void)err;
    return cover->run(cover->view, path + 1);
}

static int hide_paths(const struct view *view)
{
    const struct policy *policy = view->stage->policy;
    struct cover mask = {view, mask_path}, read_only = {view, make_read_only};
    int r = grouped_each(policy->masked_paths, "", "paths", cover_path, &mask, view->err);

    return r == 0 ? grouped_each(policy->read_only_paths, "", "paths", cover_path, &read_only,
                                 view->err)
                  : r;
}

/* ---- the new root -------------------------------------------------------------------------------
 */

static int enter_root(const struct view *view)
{
    if (fchdir(view->root) < 0)
        return error_sys(view->err, errno, "fchdir to the new root");
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return error_sys(view->err, errno, "pivot_root");
    if (umount2(".", MNT_DETACH) < 0)
        return error_sys(view->err, errno, "unmount of the old root");
    if (chdir("/") < 0)
        return error_sys(view->err, errno, "chdir to `/`");
    return 0;
}

/* Limits instead of the host's figures. What this kernel does not have needs no cover. */
static int attach_views(const struct view *view, const int *mounts)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < VIEWS; i++) {
        cleanup_close int target = open_target(view, view_targets[i], 0);
        if (target >= 0)
            r = attach(mounts[i], target, view_targets[i], view->err);
        else if (target != -ENOENT)
            r = error_sys(view->err, target, "open `/%s`", view_targets[i]);
    }
    return r;
}

static int fill_root(const struct view *view)
{
    int r = mount_file_systems(view);

    if (r == 0)
        r = fill_dev(view);
    if (r == 0)
        r = mount_sized(view, "dev/shm", view->stage->shm_bytes);
    if (r == 0)
        r = mount_sized(view, "tmp", view->stage->tmp_bytes);
    if (r == 0)
        r = bind_files(view);
    if (r == 0)
        r = hide_paths(view);
    return r;
}

int mounts_enter(const struct stage *stage, const int *layers, int data, const int *views,
                 struct error *err)
{
    struct view view = {.stage = stage, .scaffold = -1, .root = -1, .err = err};

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_sys(err, errno, "making the mount tree private");
    cleanup_close int scaffold = make_scaffold(err);
    if (scaffold < 0)
        return scaffold;
    view.scaffold = scaffold;
    int r = mount_overlay(&view, layers, data);
    if (r < 0)
        return r;
    cleanup_close int root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_sys(err, errno, "open the overlay's root");
    view.root = root;
    r = fill_root(&view);
    if (r == 0)
        r = attach_views(&view, views);
    return r == 0 ? enter_root(&view) : r;
}
