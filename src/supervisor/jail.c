/* Theory of operation: see jail.h. The new root is a non-recursive bind of "/", so nothing else
 * that is mounted on the host (disks of sandboxes among it) is held by the namespace. The tmpfs
 * goes onto its /mnt, which every system has. */
#include "supervisor/jail.h"

#include "base/cleanup.h"
#include "base/sanitizer.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define STAGING "/mnt"
#define INSIDE  STAGING STAGING /* the staging place of the new root, seen from the old one */
#define QUIET   (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* For loading only, where these are mounts of their own; what is missing on the host is no loss. */
static const char *const for_loading[] = {"/usr", "/usr/local", "/lib",  "/lib64",
                                          "/opt", "/dev",       "/proc", "/sys"};

/* To look up names and check certificates. */
static const char *const for_names[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
                                        "/etc/ssl/certs", "/usr/share/ca-certificates"};

static int bind(const char *from, const char *to, unsigned long flags, struct error *err)
{
    if (mount(from, to, NULL, MS_BIND, NULL) < 0)
        return error_sys(err, errno, "bind `%s`", from);
    if (flags && mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | flags, NULL) < 0)
        return error_sys(err, errno, "remount of `%s`", from);
    return 0;
}

/* Each folder on the way, since any may be a mount of its own; none of what is mounted below. */
static int bind_for_loading(const char *path, bool needed, struct error *err)
{
    cleanup_free char *from = strdup(path);

    for (char *end = from; end && end < from + strlen(path);) {
        end = end + 1 + strcspn(end + 1, "/");
        char kept = *end;
        *end = '\0';
        cleanup_free char *to = str_format("%s%s", STAGING, from);
        if (!to)
            return error_oom(err);
        if (mount(from, to, NULL, MS_BIND, NULL) < 0 && needed)
            return error_sys(err, errno, "bind `%s`", from);
        *end = kept;
    }
    return from ? 0 : error_oom(err);
}

static int make_root(const struct jail *jail, struct error *err)
{
    if (unshare(CLONE_NEWNS) < 0)
        return error_sys(err, errno, "unshare the mount namespace");
    if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        return error_sys(err, errno, "making the mounts private");
    int r = bind("/", STAGING, 0, err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(for_loading); i++)
        r = bind_for_loading(for_loading[i], false, err);
    if (r == 0)
        r = bind_for_loading(jail->libexec_dir, true, err);
    for (size_t i = 0; r == 0 && jail->hosts && i < ELEMENTS(for_names); i++)
        r = bind_for_loading(for_names[i], false, err);
    if (r == 0 && jail->socket_dir)
        r = bind_for_loading(jail->socket_dir, true, err);
    return r == 0 && jail->data_dir ? bind_for_loading(jail->data_dir, true, err) : r;
}

static int make_folders(const char *path, struct error *err)
{
    cleanup_free char *copy = strdup(path);

    for (char *slash = copy; slash && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return error_sys(err, errno, "mkdir `%s`", copy);
        *slash = '/';
    }
    if (!copy)
        return error_oom(err);
    return mkdir(copy, 0755) < 0 && errno != EEXIST ? error_sys(err, errno, "mkdir `%s`", copy) : 0;
}

static int bind_inside(const char *from, const char *name, unsigned long flags, struct error *err)
{
    cleanup_free char *target = str_format("%s%s", INSIDE, name);

    int r = target ? make_folders(target, err) : error_oom(err);
    return r == 0 ? bind(from, target, flags, err) : r;
}

/* What is missing on the host is missing inside. */
static int bind_for_names(const char *path, struct error *err)
{
    struct stat status;
    cleanup_free char *target = str_format("%s%s", INSIDE, path);
    cleanup_free char *folder =
        target ? strndup(target, (size_t)(strrchr(target, '/') - target)) : NULL;

    if (!folder)
        return error_oom(err);
    if (stat(path, &status) < 0)
        return 0;
    int r = make_folders(S_ISDIR(status.st_mode) ? target : folder, err);
    if (r == 0 && !S_ISDIR(status.st_mode) && mknod(target, S_IFREG | 0444, 0) < 0 &&
        errno != EEXIST)
        r = error_sys(err, errno, "mknod `%s`", target);
    return r == 0 ? bind(path, target, QUIET | MS_RDONLY, err) : r;
}

static int make_inside(const struct jail *jail, struct error *err)
{
    if (mount("tmpfs", INSIDE, "tmpfs", QUIET, "mode=0755,size=64k,nr_inodes=64") < 0)
        return error_sys(err, errno, "mount of the empty root");
    int r = bind_inside(jail->run_dir, "/supervisor", QUIET | MS_RDONLY, err);
    if (r == 0 && jail->data_dir)
        r = bind_inside(jail->data_dir, jail->data_dir, QUIET, err);
    if (r == 0 && jail->socket_dir)
        r = bind_inside(jail->socket_dir, jail->socket_dir, QUIET | MS_RDONLY, err);
    for (size_t i = 0; r == 0 && jail->hosts && i < ELEMENTS(for_names); i++)
        r = bind_for_names(for_names[i], err);
#ifdef WITH_SANITIZER /* LeakSanitizer lists the threads */
    if (r == 0)
        r = bind_inside("/proc", "/proc", QUIET | MS_RDONLY, err);
#endif
    if (r == 0 && mount(NULL, INSIDE, NULL, MS_REMOUNT | MS_RDONLY | QUIET, NULL) < 0)
        r = error_sys(err, errno, "making the empty root read-only");
    return r;
}

static int enter(struct error *err)
{
    if (chdir(STAGING) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return error_sys(err, errno, "pivot_root");
    int fd = open(STAGING, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? error_sys(err, errno, "open `%s`", STAGING) : fd;
}

int jail_make(const struct jail *jail, struct error *err)
{
    int r = make_root(jail, err);

    if (r == 0)
        r = make_inside(jail, err);
    return r == 0 ? enter(err) : r;
}
