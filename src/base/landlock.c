/* Theory of operation: see landlock.h. The constants of later ABIs are spelt out, since the headers
 * of Debian 12 know the second one; the kernel takes a longer attribute whose tail is zero. */
#include "base/landlock.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FS_TRUNCATE     (UINT64_C(1) << 14)
#define FS_IOCTL_DEV    (UINT64_C(1) << 15)
#define NET_BIND_TCP    (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT  (UINT64_C(1) << 0)
#define SCOPE_SIGNAL    (UINT64_C(1) << 1)
#define RULE_NET_PORT   2

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct port_attr {
    uint64_t access, port;
};

const char *const landlock_accesses[] = {"read", "write", "create", "execute", "ioctl", NULL};

/* In the order of the names. */
static const uint64_t access_masks[] = {
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE,
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
        LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
        LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER,
    LANDLOCK_ACCESS_FS_EXECUTE,
    FS_IOCTL_DEV,
};

/* All that a file, which is no folder, can be granted. */
#define OF_FILES                                                                                   \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |   \
     FS_TRUNCATE | FS_IOCTL_DEV)

const char *const landlock_scopes[] = {"abstract_unix_socket", "signal", NULL};

/* What each ABI brought. */
static const struct {
    uint64_t fs, net, scoped;
    const char *features; /* with all before */
} versions[] = {
    {0, 0, 0, "nothing"},
    {(UINT64_C(1) << 13) - 1, 0, 0, "files"},
    {LANDLOCK_ACCESS_FS_REFER, 0, 0, "files"},
    {FS_TRUNCATE, 0, 0, "files and their truncation"},
    {0, NET_BIND_TCP | NET_CONNECT_TCP, 0, "files and TCP ports"},
    {FS_IOCTL_DEV, 0, 0, "files, TCP ports and devices"},
    {0, 0, SCOPE_ABSTRACT | SCOPE_SIGNAL, "files, TCP ports, devices, signals and sockets"},
};

int landlock_abi(void)
{
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

    return abi < 0 ? 0 : (int)abi;
}

const char *landlock_features(int abi)
{
    size_t last = ELEMENTS(versions) - 1;

    return versions[(size_t)abi < last ? (size_t)abi : last].features;
}

static struct ruleset_attr supported(int abi)
{
    struct ruleset_attr all = {0, 0, 0};

    for (size_t i = 0; i <= (size_t)abi && i < ELEMENTS(versions); i++) {
        all.fs |= versions[i].fs;
        all.net |= versions[i].net;
        all.scoped |= versions[i].scoped;
    }
    return all;
}

/* Of the names in `list`, those of `names` give the bits of `masks`. */
static uint64_t mask_of(const json_t *list, const char *const *names, const uint64_t *masks)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t n = 0; names[n]; n++)
            if (str_equal(json_string_value(json_array_get(list, i)), names[n]))
                mask |= masks[n];
    return mask;
}

static struct ruleset_attr handled(const struct landlock_section *section)
{
    static const uint64_t scope_masks[] = {SCOPE_ABSTRACT, SCOPE_SIGNAL};
    struct ruleset_attr can = supported(landlock_abi());
    uint64_t net = (json_object_get(section->tcp, "bind") ? NET_BIND_TCP : 0) |
                   (json_object_get(section->tcp, "connect") ? NET_CONNECT_TCP : 0);

    return (struct ruleset_attr){section->rules ? can.fs : 0, can.net & net,
                                 can.scoped &
                                     mask_of(section->scopes, landlock_scopes, scope_masks)};
}

static int add_path(int ruleset, const char *path, uint64_t access, struct error *err)
{
    struct stat status;
    cleanup_close int fd = fd_openat2(AT_FDCWD, path, O_PATH, 0, RESOLVE_NO_SYMLINKS);

    if (fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR)
        return 0;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_sys(err, fd < 0 ? fd : errno, "landlock: open `%s`", path);
    struct landlock_path_beneath_attr rule = {
        .allowed_access = S_ISDIR(status.st_mode) ? access : access & OF_FILES, .parent_fd = fd};
    if (!rule.allowed_access)
        return 0;
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return error_sys(err, errno, "landlock: rule for `%s`", path);
    return 0;
}

static int add_paths(int ruleset, const json_t *rules, uint64_t fs, struct error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i), *paths = json_object_get(rule, "paths");
        uint64_t access =
            fs & mask_of(json_object_get(rule, "access"), landlock_accesses, access_masks);
        for (size_t n = 0; r == 0 && n < json_array_size(paths); n++)
            r = add_path(ruleset, json_string_value(json_array_get(paths, n)), access, err);
    }
    return r;
}

static int add_ports(int ruleset, const json_t *ports, uint64_t access, struct error *err)
{
    for (size_t i = 0; access && i < json_array_size(ports); i++) {
        json_int_t port = json_integer_value(json_array_get(ports, i));
        struct port_attr rule = {access, (uint64_t)port};
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) < 0)
            return error_sys(err, errno, "landlock: rule for port %lld", (long long)port);
    }
    return 0;
}

int landlock_restrict(const struct landlock_section *section, struct error *err)
{
    struct ruleset_attr attr = handled(section);

    if (!(attr.fs | attr.net | attr.scoped))
        return 0;
    cleanup_close int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0)
        return error_sys(err, errno, "landlock: create the ruleset");
    int r = add_paths(ruleset, section->rules, attr.fs, err);
    if (r == 0)
        r = add_ports(ruleset, json_object_get(section->tcp, "bind"), attr.net & NET_BIND_TCP, err);
    if (r == 0)
        r = add_ports(ruleset, json_object_get(section->tcp, "connect"), attr.net & NET_CONNECT_TCP,
                      err);
    if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = error_sys(err, errno, "landlock: restrict");
    return r;
}
