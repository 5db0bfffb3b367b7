/* Theory of operation: see cgroup.h. libcgroup finds the mount points and creates the limit
 * groups; the v2 leaves and cgroup.kill, for which it has no call, are plain files. What the groups
 * allow is in cgroup-limits.c, what they count in cgroup-stats.c. */
#include "supervisor/cgroup.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <libcgroup.h>
#include <mntent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* By the name that libcgroup and the kernel give them on v2, and on v1. */
static const struct {
    const char *v2, *v1;
} controller_names[CGROUP_CONTROLLERS] = {
    [CGROUP_MEMORY] = {"memory", "memory"},
    [CGROUP_CPU] = {"cpu", "cpu"},
    [CGROUP_CPUACCT] = {"cpuacct", "cpuacct"},
    [CGROUP_PIDS] = {"pids", "pids"},
    [CGROUP_IO] = {"io", "blkio"},
};

static int find_v2_mount(char *ret_path, size_t size)
{
    struct mntent *entry;
    int r = -ENOENT;
    FILE *mounts = setmntent("/proc/self/mounts", "re");

    while (mounts && r < 0 && (entry = getmntent(mounts)))
        if (str_equal(entry->mnt_type, "cgroup2"))
            r = snprintf(ret_path, size, "%s", entry->mnt_dir) < (int)size ? 0 : -ENAMETOOLONG;
    if (mounts)
        endmntent(mounts);
    return r;
}

static bool find_named(struct cgroup_tree *tree, enum controller_kind controller, const char *name)
{
    cleanup_free char *path = NULL;

    if (cgroup_get_subsys_mount_point(name, &path) != 0 || !path ||
        strlen(path) >= sizeof(tree->mount[0]))
        return false;
    snprintf(tree->mount[controller], sizeof(tree->mount[0]), "%s", path);
    tree->v2[controller] = str_equal(path, tree->v2_mount);
    return true;
}

static void find_controller(struct cgroup_tree *tree, enum controller_kind controller)
{
    if (!find_named(tree, controller, controller_names[controller].v2))
        find_named(tree, controller, controller_names[controller].v1);
}

static const char *controller_name(const struct cgroup_tree *tree, enum controller_kind controller)
{
    return tree->v2[controller] ? controller_names[controller].v2 : controller_names[controller].v1;
}

/* Our own v2 group when it is a service's, else "". */
static void own_group(char *ret_path, size_t size)
{
    cleanup_file FILE *file = fopen("/proc/self/cgroup", "re");
    char line[512];

    ret_path[0] = '\0';
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *end = strstr(line, ".service");
        if (!str_starts(line, "0::/") || !end)
            continue;
        end[strlen(".service")] = '\0';
        snprintf(ret_path, size, "%.200s/", line + strlen("0::/"));
    }
}

int cgroup_path(const char *mount, const struct cgroup_tree *tree, const char *id, const char *file,
                char *ret_path, size_t size)
{
    int n = snprintf(ret_path, size, "%s/%s%s%s%s%s", mount, tree->name, id[0] ? "/" : "", id,
                     file[0] ? "/" : "", file);

    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int cgroup_file(const struct cgroup_tree *tree, enum controller_kind controller, const char *id,
                const char *v1_file, const char *v2_file, char *ret_path, size_t size)
{
    const char *file = tree->v2[controller] ? v2_file : v1_file;

    if (!tree->mount[controller][0] || !file)
        return -ENOENT;
    int r = cgroup_path(tree->mount[controller], tree, id, file, ret_path, size);
    return r == 0 && access(ret_path, F_OK) < 0 ? -errno : r;
}

/* The group that systemd has delegated to us: that of the unit beside ours that the environment
 * names (contrib/systemd), or our own. */
static int delegated_group(struct cgroup_tree *tree, char *ret_path, size_t size, struct error *err)
{
    const char *unit = getenv("AURACODE_CGROUP_UNIT");
    char path[1024];

    own_group(ret_path, size);
    if (!unit || !*unit || !ret_path[0])
        return 0;
    ret_path[strlen(ret_path) - 1] = '\0';
    char *name = strrchr(ret_path, '/');
    name = name ? name + 1 : ret_path;
    snprintf(name, size - (size_t)(name - ret_path), "%.120s/", unit);
    snprintf(path, sizeof(path), "%s/%s", tree->v2_mount, ret_path);
    if (access(path, F_OK) < 0)
        return error_sys(err, errno, "the cgroup `%s` of AURACODE_CGROUP_UNIT", path);
    snprintf(tree->keeper, sizeof(tree->keeper), "%s%s", ret_path,
             tree->v2[CGROUP_MEMORY] ? "supervisor/" : "");
    return 0;
}

/* Writes each process of the group at `path` to `function`. */
static int each_process(const char *path,
                        int (*function)(const char *pid, const char *to, struct error *err),
                        const char *to, struct error *err)
{
    cleanup_free char *pids = NULL;
    char *rest;
    int r = file_read(AT_FDCWD, path, 65536, &pids, NULL, err);

    for (char *pid = r < 0 ? NULL : strtok_r(pids, "\n", &rest); r == 0 && pid;
         pid = strtok_r(NULL, "\n", &rest))
        r = function(pid, to, err);
    return r;
}

static int move_process(const char *pid, const char *to, struct error *err)
{
    return file_write_existing(AT_FDCWD, to, pid, err);
}

static int end_process(const char *pid, const char *to, struct error *err)
{
    uint64_t number;

    (void)to;
    (void)err;
    if (parse_u64(pid, 2, INT32_MAX, &number) == 0 && (pid_t)number != getpid())
        kill((pid_t)number, SIGTERM);
    return 0;
}

/* With the limits on v2, no process may stay in a group that hands controllers to children: neither
 * we nor the process that the delegated unit consists of. */
static int empty_inner_group(const struct cgroup_tree *tree, const char *group, struct error *err)
{
    char path[1024], leaf[1024];

    if (!group[0] || !tree->v2[CGROUP_MEMORY])
        return 0;
    snprintf(path, sizeof(path), "%s/%ssupervisor", tree->v2_mount, group);
    int r = dir_make(AT_FDCWD, path, 0755, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%scgroup.procs", tree->v2_mount, group);
    snprintf(leaf, sizeof(leaf), "%s/%ssupervisor/cgroup.procs", tree->v2_mount, group);
    return each_process(path, move_process, leaf, err);
}

int cgroup_tree_find(struct cgroup_tree *ret_tree, struct error *err)
{
    struct cgroup_tree tree = {0};

    if (find_v2_mount(tree.v2_mount, sizeof(tree.v2_mount)) < 0)
        return error_set(err, ENOENT,
                         "no cgroup2 mount in /proc/self/mounts: mount -t cgroup2 none "
                         "/sys/fs/cgroup");
    int r = cgroup_init();
    if (r != 0)
        return error_set(err, EIO, "libcgroup: %s", cgroup_strerror(r));
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        find_controller(&tree, (enum controller_kind)i);
    *ret_tree = tree;
    return 0;
}

/* Throttling knows whole disks only, so a partition's disk; "" for a file system that is on no
 * device of its own (btrfs, overlay, tmpfs). */
static void find_device(int state_fd, char *ret_device, size_t size)
{
    struct stat status;
    cleanup_free char *text = NULL;
    char path[96];

    ret_device[0] = '\0';
    if (fstat(state_fd, &status) < 0 || major(status.st_dev) == 0)
        return;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(status.st_dev),
             minor(status.st_dev));
    bool partition = access(path, F_OK) == 0;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%sdev", major(status.st_dev),
             minor(status.st_dev), partition ? "../" : "");
    if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) == 0)
        snprintf(ret_device, size, "%.*s", (int)strcspn(text, "\n"), text);
}

int cgroup_tree_open(struct cgroup_tree *ret_tree, const char *name, int state_fd,
                     struct error *err)
{
    struct cgroup_tree tree;
    char group[256], path[1024];

    int r = cgroup_tree_find(&tree, err);
    if (r < 0)
        return r;
    r = delegated_group(&tree, group, sizeof(group), err);
    if (r < 0)
        return r;
    snprintf(tree.name, sizeof(tree.name), "%s%.63s", group, name);
    r = empty_inner_group(&tree, group, err);
    if (r < 0)
        return r;
    r = cgroup_path(tree.v2_mount, &tree, "", "", path, sizeof(path));
    if (r == 0)
        r = dir_make(AT_FDCWD, path, 0755, err);
    if (r < 0)
        return r;
    find_device(state_fd, tree.io_device, sizeof(tree.io_device));
    *ret_tree = tree;
    return 0;
}

const char *cgroup_tree_mode(const struct cgroup_tree *tree)
{
    if (tree->v2[CGROUP_MEMORY])
        return "v2";
    return tree->mount[CGROUP_MEMORY][0] ? "hybrid" : "without controllers";
}

static int create_controller_group(const char *group, const char *controller)
{
    struct cgroup *cgroup = cgroup_new_cgroup(group);
    int r = ENOMEM;

    if (cgroup && cgroup_add_controller(cgroup, controller))
        r = cgroup_create_cgroup(cgroup, 0);
    cgroup_free(&cgroup);
    return r;
}

static int create_limit_groups(const struct cgroup_tree *tree, const char *id, struct error *err)
{
    char group[sizeof(tree->name) + 64];

    snprintf(group, sizeof(group), "%s/%.32s", tree->name, id);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        const char *name = controller_name(tree, i);
        int r = tree->mount[i][0] ? create_controller_group(group, name) : 0;
        if (r != 0)
            return error_set(err, EIO, "creating cgroup `%s` (%s): %s", group, name,
                             cgroup_strerror(r));
    }
    return 0;
}

static int open_v1_procs(const struct cgroup_tree *tree, const char *id, struct cgroup_entry *entry,
                         struct error *err)
{
    char path[1024];

    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!tree->mount[i][0] || tree->v2[i])
            continue;
        cgroup_path(tree->mount[i], tree, id, "cgroup.procs", path, sizeof(path));
        entry->procs_fd[i] = open(path, O_WRONLY | O_CLOEXEC);
        if (entry->procs_fd[i] < 0)
            return error_sys(err, errno, "open `%s`", path);
    }
    return 0;
}

static int open_leaf(const struct cgroup_tree *tree, const char *id, unsigned int generation,
                     struct cgroup_entry *entry, struct error *err)
{
    char path[1024], leaf[32];

    int r = cgroup_path(tree->v2_mount, tree, id, "", path, sizeof(path));
    if (r == 0)
        r = dir_make(AT_FDCWD, path, 0755, err);
    if (r < 0)
        return r;
    snprintf(leaf, sizeof(leaf), "g%u", generation);
    cgroup_path(tree->v2_mount, tree, id, leaf, path, sizeof(path));
    if (mkdir(path, 0755) < 0)
        return error_sys(err, errno, "mkdir `%s`", path);
    entry->leaf_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return entry->leaf_fd < 0 ? error_sys(err, errno, "open `%s`", path) : 0;
}

void cgroup_entry_close(struct cgroup_entry *entry)
{
    close_and_forget(&entry->leaf_fd);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        close_and_forget(&entry->procs_fd[i]);
}

int cgroup_create(const struct cgroup_tree *tree, const char *id, unsigned int generation,
                  const struct limits *limits, struct cgroup_entry *ret_entry, struct error *err)
{
    struct cgroup_entry entry = CGROUP_ENTRY_NONE;

    int r = create_limit_groups(tree, id, err);
    if (r == 0)
        r = cgroup_set_limits(tree, id, NULL, limits, err);
    if (r == 0)
        r = open_leaf(tree, id, generation, &entry, err);
    if (r == 0)
        r = open_v1_procs(tree, id, &entry, err);
    if (r < 0)
        cgroup_entry_close(&entry);
    else
        *ret_entry = entry;
    return r;
}

int cgroup_kill(const struct cgroup_tree *tree, const char *id, struct error *err)
{
    char path[1024];

    cgroup_path(tree->v2_mount, tree, id, "cgroup.kill", path, sizeof(path));
    int r = file_write_existing(AT_FDCWD, path, "1", err);
    return r == -ENOENT ? 0 : r;
}

int cgroup_freeze(const struct cgroup_tree *tree, const char *id, bool frozen, struct error *err)
{
    char path[1024];

    cgroup_path(tree->v2_mount, tree, id, "cgroup.freeze", path, sizeof(path));
    return file_write_existing(AT_FDCWD, path, frozen ? "1" : "0", err);
}

static int remove_group(const char *path)
{
    return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_leaves(const char *path)
{
    cleanup_dir DIR *dir = opendir(path);
    struct dirent *entry;
    int r = 0;

    while (dir && r == 0 && (entry = readdir(dir)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = -errno;
    return r;
}

int cgroup_remove(const struct cgroup_tree *tree, const char *id, struct error *err)
{
    char path[1024];

    cgroup_path(tree->v2_mount, tree, id, "", path, sizeof(path));
    int r = remove_leaves(path);
    if (r == 0)
        r = remove_group(path);
    for (int i = 0; r == 0 && i < CGROUP_CONTROLLERS; i++) {
        if (!tree->mount[i][0] || tree->v2[i])
            continue;
        cgroup_path(tree->mount[i], tree, id, "", path, sizeof(path));
        r = remove_group(path);
    }
    return r < 0 ? error_sys(err, r, "rmdir `%s`", path) : 0;
}

void cgroup_tree_remove(const struct cgroup_tree *tree)
{
    char path[1024];

    cgroup_path(tree->v2_mount, tree, "", "", path, sizeof(path));
    remove_group(path);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!tree->mount[i][0] || tree->v2[i])
            continue;
        cgroup_path(tree->mount[i], tree, "", "", path, sizeof(path));
        remove_group(path);
    }
    if (!tree->keeper[0])
        return;
    snprintf(path, sizeof(path), "%s/%scgroup.procs", tree->v2_mount, tree->keeper);
    each_process(path, end_process, NULL, NULL);
}

void cgroup_each(const struct cgroup_tree *tree, void (*each)(void *userdata, const char *id),
                 void *userdata)
{
    char path[1024];
    struct dirent *entry;

    cgroup_path(tree->v2_mount, tree, "", "", path, sizeof(path));
    cleanup_dir DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir)))
        if (entry->d_type == DT_DIR && sandbox_id_valid(entry->d_name))
            each(userdata, entry->d_name);
}
