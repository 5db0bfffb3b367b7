/* Theory of operation: see cgroup.h. libcgroup finds the mount points and creates and sets the
 * limit groups; the v2 leaves and cgroup.kill, for which it has no call, are plain files. */
#include "supervisor/cgroup.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <libcgroup.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>

#define CPU_PERIOD_US 100000

static const char *const controller_names[CGROUP_CONTROLLERS] = {"memory", "cpu", "cpuacct",
                                                                 "pids"};

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

static void find_controller(struct cgroup_tree *tree, enum controller_kind controller)
{
    char *path = NULL;

    if (cgroup_get_subsys_mount_point(controller_names[controller], &path) == 0 && path &&
        strlen(path) < sizeof(tree->mount[0])) {
        snprintf(tree->mount[controller], sizeof(tree->mount[0]), "%s", path);
        tree->v2[controller] = str_equal(path, tree->v2_mount);
    }
    free(path);
}

/* Our own v2 group when systemd delegated one to us, else "". */
static void delegated_group(char *ret_path, size_t size)
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

static int join(char *target, size_t size, const char *mount, const char *name, const char *rest)
{
    int n = snprintf(target, size, "%s/%s%s%s", mount, name, rest[0] ? "/" : "", rest);

    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* With the limits on v2, no process may stay in a group that hands controllers to children. */
static int leave_inner_group(const struct cgroup_tree *tree, const char *own, struct error *err)
{
    char path[1024];

    if (!own[0] || !tree->v2[CGROUP_MEMORY])
        return 0;
    snprintf(path, sizeof(path), "%s/%ssupervisor", tree->v2_mount, own);
    int r = dir_make(AT_FDCWD, path, 0755, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%ssupervisor/cgroup.procs", tree->v2_mount, own);
    return file_write_existing(AT_FDCWD, path, "0", err);
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

int cgroup_tree_open(struct cgroup_tree *ret_tree, const char *name, struct error *err)
{
    struct cgroup_tree tree;
    char own[256], path[1024];

    int r = cgroup_tree_find(&tree, err);
    if (r < 0)
        return r;
    delegated_group(own, sizeof(own));
    snprintf(tree.name, sizeof(tree.name), "%s%.63s", own, name);
    r = leave_inner_group(&tree, own, err);
    if (r < 0)
        return r;
    r = join(path, sizeof(path), tree.v2_mount, tree.name, "");
    if (r == 0)
        r = dir_make(AT_FDCWD, path, 0755, err);
    if (r == 0)
        *ret_tree = tree;
    return r;
}

const char *cgroup_tree_mode(const struct cgroup_tree *tree)
{
    if (tree->v2[CGROUP_MEMORY])
        return "v2";
    return tree->mount[CGROUP_MEMORY][0] ? "hybrid" : "without controllers";
}

/* One limit as the file of either version wants it. */
struct setting {
    enum controller_kind controller;
    const char *v1_file, *v2_file;
    void (*format)(const struct limits *limits, bool v2, char *ret_text, size_t size);
};

static void format_memory(const struct limits *limits, bool v2, char *ret_text, size_t size)
{
    (void)v2;
    snprintf(ret_text, size, "%lld", (long long)limits->memory);
}

static void format_no_swap(const struct limits *limits, bool v2, char *ret_text, size_t size)
{
    /* v1 counts memory and swap together, so the same figure means no swap */
    if (v2)
        snprintf(ret_text, size, "0");
    else
        format_memory(limits, v2, ret_text, size);
}

static void format_cpu(const struct limits *limits, bool v2, char *ret_text, size_t size)
{
    long long quota = (long long)(limits->cpu * CPU_PERIOD_US);

    if (quota < 1000) /* the kernel's least quota */
        quota = 1000;
    if (v2)
        snprintf(ret_text, size, "%lld %d", quota, CPU_PERIOD_US);
    else
        snprintf(ret_text, size, "%lld", quota);
}

static void format_pids(const struct limits *limits, bool v2, char *ret_text, size_t size)
{
    (void)v2;
    snprintf(ret_text, size, "%lld", (long long)limits->pids);
}

static const struct setting settings[] = {
    {CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", format_memory},
    {CGROUP_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap.max", format_no_swap},
    {CGROUP_CPU, "cpu.cfs_quota_us", "cpu.max", format_cpu},
    {CGROUP_PIDS, "pids.max", "pids.max", format_pids},
};

/* Swap accounting is a build option of the kernel; without it the file does not exist. */
static bool file_exists(const char *mount, const char *group, const char *file)
{
    char path[1024], name[640];

    snprintf(name, sizeof(name), "%s/%s", group, file);
    return join(path, sizeof(path), mount, name, "") == 0 && access(path, F_OK) == 0;
}

static int create_controller_group(const struct cgroup_tree *tree, const char *group,
                                   enum controller_kind controller)
{
    struct cgroup *cgroup = cgroup_new_cgroup(group);
    int r = ENOMEM;

    if (cgroup && cgroup_add_controller(cgroup, controller_names[controller]))
        r = cgroup_create_cgroup(cgroup, 0);
    cgroup_free(&cgroup);
    (void)tree;
    return r;
}

static int apply_setting(const struct cgroup_tree *tree, const char *group,
                         const struct setting *setting, const struct limits *limits,
                         struct error *err)
{
    char text[64], path[1024], name[640];
    bool v2 = tree->v2[setting->controller];
    const char *file = v2 ? setting->v2_file : setting->v1_file;

    if (!tree->mount[setting->controller][0] ||
        !file_exists(tree->mount[setting->controller], group, file))
        return 0;
    setting->format(limits, v2, text, sizeof(text));
    snprintf(name, sizeof(name), "%s/%s", group, file);
    int r = join(path, sizeof(path), tree->mount[setting->controller], name, "");
    return r < 0 ? error_sys(err, r, "cgroup `%s`", name)
                 : file_write_existing(AT_FDCWD, path, text, err);
}

static int create_limit_groups(const struct cgroup_tree *tree, const char *group,
                               const struct limits *limits, struct error *err)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        int r = tree->mount[i][0] ? create_controller_group(tree, group, i) : 0;
        if (r != 0)
            return error_set(err, EIO, "creating cgroup `%s` (%s): %s", group, controller_names[i],
                             cgroup_strerror(r));
    }
    for (size_t i = 0; i < ELEMENTS(settings); i++) {
        int r = apply_setting(tree, group, &settings[i], limits, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int open_v1_procs(const struct cgroup_tree *tree, const char *group,
                         struct cgroup_entry *entry, struct error *err)
{
    char path[1024];

    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!tree->mount[i][0] || tree->v2[i])
            continue;
        join(path, sizeof(path), tree->mount[i], group, "cgroup.procs");
        entry->procs_fd[i] = open(path, O_WRONLY | O_CLOEXEC);
        if (entry->procs_fd[i] < 0)
            return error_sys(err, errno, "open `%s`", path);
    }
    return 0;
}

static int open_leaf(const struct cgroup_tree *tree, const char *group, unsigned int generation,
                     struct cgroup_entry *entry, struct error *err)
{
    char path[1024], leaf[32];

    int r = join(path, sizeof(path), tree->v2_mount, group, "");
    if (r == 0)
        r = dir_make(AT_FDCWD, path, 0755, err);
    if (r < 0)
        return r;
    snprintf(leaf, sizeof(leaf), "g%u", generation);
    join(path, sizeof(path), tree->v2_mount, group, leaf);
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
    struct cgroup_entry entry = {-1, {-1, -1, -1, -1}};
    char group[512];

    snprintf(group, sizeof(group), "%s/%s", tree->name, id);
    int r = create_limit_groups(tree, group, limits, err);
    if (r == 0)
        r = open_leaf(tree, group, generation, &entry, err);
    if (r == 0)
        r = open_v1_procs(tree, group, &entry, err);
    if (r < 0)
        cgroup_entry_close(&entry);
    else
        *ret_entry = entry;
    return r;
}

int cgroup_kill(const struct cgroup_tree *tree, const char *id, struct error *err)
{
    char path[1024], name[512];

    snprintf(name, sizeof(name), "%s/%s", tree->name, id);
    join(path, sizeof(path), tree->v2_mount, name, "cgroup.kill");
    int r = file_write_existing(AT_FDCWD, path, "1", err);
    return r == -ENOENT ? 0 : r;
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
    char path[1024], group[512];

    snprintf(group, sizeof(group), "%s/%s", tree->name, id);
    join(path, sizeof(path), tree->v2_mount, group, "");
    int r = remove_leaves(path);
    if (r == 0)
        r = remove_group(path);
    for (int i = 0; r == 0 && i < CGROUP_CONTROLLERS; i++) {
        if (!tree->mount[i][0] || tree->v2[i])
            continue;
        join(path, sizeof(path), tree->mount[i], group, "");
        r = remove_group(path);
    }
    return r < 0 ? error_sys(err, r, "rmdir `%s`", path) : 0;
}

void cgroup_tree_remove(const struct cgroup_tree *tree)
{
    char path[1024];

    join(path, sizeof(path), tree->v2_mount, tree->name, "");
    remove_group(path);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!tree->mount[i][0] || tree->v2[i])
            continue;
        join(path, sizeof(path), tree->mount[i], tree->name, "");
        remove_group(path);
    }
}

static int64_t read_number(const struct cgroup_tree *tree, enum controller_kind controller,
                           const char *id, const char *file)
{
    cleanup_free char *text = NULL;
    char path[1024], name[640];
    uint64_t value;

    if (!tree->mount[controller][0])
        return -1;
    snprintf(name, sizeof(name), "%s/%s/%s", tree->name, id, file);
    join(path, sizeof(path), tree->mount[controller], name, "");
    if (file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
        return -1;
    text[strcspn(text, "\n")] = '\0';
    return parse_u64(text, 0, UINT64_MAX, &value) < 0 ? -1 : (int64_t)value;
}

/* A line "key value" of a flat keyed file. */
static int64_t read_keyed(const struct cgroup_tree *tree, enum controller_kind controller,
                          const char *id, const char *file, const char *key)
{
    cleanup_free char *text = NULL;
    char path[1024], name[640], *save = NULL;
    size_t length = strlen(key);
    uint64_t value;

    snprintf(name, sizeof(name), "%s/%s/%s", tree->name, id, file);
    join(path, sizeof(path), tree->mount[controller], name, "");
    if (file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
        return -1;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            return parse_u64(line + length + 1, 0, UINT64_MAX, &value) < 0 ? -1 : (int64_t)value;
    return -1;
}

static int64_t scaled(int64_t value, int64_t factor)
{
    return value < 0 ? -1 : value * factor;
}

void cgroup_stats(const struct cgroup_tree *tree, const char *id, struct cgroup_stats *ret_stats)
{
    bool v2 = tree->v2[CGROUP_MEMORY];

    *ret_stats = (struct cgroup_stats){
        .memory_bytes =
            read_number(tree, CGROUP_MEMORY, id, v2 ? "memory.current" : "memory.usage_in_bytes"),
        .memory_peak_bytes =
            read_number(tree, CGROUP_MEMORY, id, v2 ? "memory.peak" : "memory.max_usage_in_bytes"),
        .memory_limit_bytes =
            read_number(tree, CGROUP_MEMORY, id, v2 ? "memory.max" : "memory.limit_in_bytes"),
        .cpu_ns = tree->v2[CGROUP_CPU]
                      ? scaled(read_keyed(tree, CGROUP_CPU, id, "cpu.stat", "usage_usec"), 1000)
                      : read_number(tree, CGROUP_CPUACCT, id, "cpuacct.usage"),
        .pids = read_number(tree, CGROUP_PIDS, id, "pids.current"),
        .pids_limit = read_number(tree, CGROUP_PIDS, id, "pids.max"),
        .oom_kills = read_keyed(tree, CGROUP_MEMORY, id,
                                v2 ? "memory.events" : "memory.oom_control", "oom_kill"),
    };
}

void cgroup_each(const struct cgroup_tree *tree, void (*each)(void *userdata, const char *id),
                 void *userdata)
{
    char path[1024];
    struct dirent *entry;

    join(path, sizeof(path), tree->v2_mount, tree->name, "");
    cleanup_dir DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir)))
        if (entry->d_type == DT_DIR && sandbox_id_valid(entry->d_name))
            each(userdata, entry->d_name);
}
