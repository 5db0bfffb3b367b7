/* Theory of operation: what happens between the fork and the exec of a program. The jail is made
 * while everything may still be done; then the bounding set, the groups, the user and every
 * capability but one go, and no_new_privs makes it final. */
#include "supervisor/program-internal.h"

#include "supervisor/jail.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define PROCESSES_MAX 1024 /* RLIMIT_NPROC: threads of the proxy, and no fork bomb */

static int set_capabilities(const cap_value_t *capabilities, int count)
{
    cap_t set = cap_init();
    int r = set ? 0 : -ENOMEM;

    for (int flag = CAP_EFFECTIVE; r == 0 && flag <= CAP_INHERITABLE; flag++)
        if (cap_set_flag(set, (cap_flag_t)flag, count, capabilities, CAP_SET) < 0)
            r = -errno;
    if (r == 0 && cap_set_proc(set) < 0)
        r = -errno;
    cap_free(set);
    return r;
}

/* To be done while it is still in the bounding set. */
static int make_inheritable(cap_value_t capability)
{
    cap_t set = cap_get_proc();
    int r = -ENOMEM;

    if (set)
        r = cap_set_flag(set, CAP_INHERITABLE, 1, &capability, CAP_SET) < 0 || cap_set_proc(set) < 0
                ? -errno
                : 0;
    cap_free(set);
    return r;
}

/* One capability goes over the exec: the program enters its root with it (base/confine.h). */
static int become_user(const struct program *program)
{
    static const cap_value_t kept[] = {CAP_SYS_CHROOT};
    static const struct rlimit no_core = {0, 0}; /* it would hold tokens */
    static const struct rlimit processes = {PROCESSES_MAX, PROCESSES_MAX};

    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_NPROC, &processes);
    int r = make_inheritable(CAP_SYS_CHROOT);
    if (r < 0)
        return r;
    for (cap_value_t capability = 0; CAP_IS_SUPPORTED(capability); capability++)
        if (cap_drop_bound(capability) < 0)
            return -errno;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(program->gid, program->gid, program->gid) < 0 ||
        setresuid(program->uid, program->uid, program->uid) < 0)
        return -errno;
    r = set_capabilities(kept, ELEMENTS(kept));
    if (r == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_CHROOT, 0, 0) < 0)
        r = -errno;
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    return r;
}

void program_pass(struct passed *passed, int fd, const char *name)
{
    size_t used = strlen(passed->names);

    if (fd < 0)
        return;
    passed->fds[passed->count++] = fd;
    snprintf(passed->names + used, sizeof(passed->names) - used, "%s%s", used ? "," : "", name);
}

/* SQLite keeps its journal beside the database, so the whole folder is the program's. */
static char *data_dir(const struct program *program)
{
    static const char scheme[] = "sqlite:/";
    const char *url = program->supervisor->config.database_url;

    if (program->role != ROLE_API || !str_starts(url, scheme))
        return NULL;
    const char *path = url + sizeof(scheme) - 2;
    cleanup_free char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
    return folder ? realpath(folder, NULL) : NULL;
}

/* Where PostgreSQL's Unix socket is: `host=/PATH` of the URL, or the default of a URL without host.
 */
static char *socket_dir(const struct program *program)
{
    const char *url = program->supervisor->config.database_url;
    const char *host = strstr(url, "host=/");

    if (program->role != ROLE_API || !str_starts(url, "postgres"))
        return NULL;
    if (!host)
        return strstr(url, ":///") ? realpath("/var/run/postgresql", NULL) : NULL;
    cleanup_free char *path = strndup(host + 5, strcspn(host + 5, "&"));
    return path ? realpath(path, NULL) : NULL;
}

static int enter_jail(const struct program *program, char *ret_path, size_t size, struct error *err)
{
    const struct supervisor *supervisor = program->supervisor;
    cleanup_free char *libexec = realpath(supervisor->libexec_dir, NULL);
    cleanup_free char *run = realpath(supervisor->config.run_dir, NULL);
    cleanup_free char *data = data_dir(program);
    cleanup_free char *sockets = socket_dir(program);
    bool connects =
        program->role == ROLE_FETCH || program->role == ROLE_HOOK ||
        (program->role == ROLE_API && str_starts(supervisor->config.database_url, "postgres"));
    struct jail jail = {libexec, run, data, sockets, connects && !sockets};

    if (!libexec || !run)
        return error_sys(err, errno, "finding `%s` and `%s`", supervisor->libexec_dir,
                         supervisor->config.run_dir);
    snprintf(ret_path, size, "%s/%s", libexec, program->name);
    return jail_make(&jail, err);
}

_Noreturn void program_run(const struct program *program, struct passed *passed)
{
    struct error err = ERROR_NONE;
    char path[512], names[160];
    const char *journal = getenv("JOURNAL_STREAM");
    cleanup_free char *journal_entry = str_format("JOURNAL_STREAM=%s", journal ? journal : "");
    char *environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                           names, journal ? journal_entry : NULL, NULL};
    char *const arguments[] = {(char *)program->name, NULL};
    int high[ELEMENTS(passed->fds)];
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int root = enter_jail(program, path, sizeof(path), &err);
    if (root < 0) {
        log_error("%s: %s", program->name, err.message);
        _exit(126);
    }
    program_pass(passed, root, "root");
    snprintf(names, sizeof(names), "AURACODE_FDS=%s", passed->names);
    for (int i = 0; i < passed->count; i++)
        high[i] = fcntl(passed->fds[i], F_DUPFD_CLOEXEC, 256);
    for (int i = 0; i < passed->count; i++)
        if (high[i] < 0 || dup2(high[i], PASSED_FDS_START + i) < 0)
            _exit(126);
    close_range((unsigned int)(PASSED_FDS_START + passed->count), ~0U, 0);
    umask(077);
    int r = become_user(program);
    if (r < 0) {
        log_error("%s: becoming user %u: %s", program->name, program->uid, strerror(-r));
        _exit(126);
    }
    execve(path, arguments, environment);
    log_error("execute `%s`: %m", path);
    _exit(127);
}
