/* Theory of operation: see program.h. A kept program is watched by pidfd like one of our own. Its
 * successor, when it ends, gets the listening sockets that it handed back in its hello. */
#include "supervisor/program.h"

#include "supervisor/client.h"
#include "supervisor/jail.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/protocol.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sockios.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define LISTENERS_MAX  3
#define BACKOFF_MAX_MS 5000
#define PROCESSES_MAX  1024 /* RLIMIT_NPROC: threads of the proxy, and no fork bomb */

struct program {
    struct supervisor *supervisor;
    const char *name; /* executable in the libexec folder */
    unsigned int role;
    unsigned int audience; /* enum config_audience */
    uid_t uid;
    gid_t gid;
    const char *listener_names[LISTENERS_MAX];
    int listeners[LISTENERS_MAX];
    pid_t pid;
    int pidfd;
    int64_t started_ms, backoff_ms;
    sd_event_source *exit_source, *restart_source;
};

static int start_program(struct program *program, struct error *err);

static int save_programs(struct supervisor *supervisor, struct error *err)
{
    cleanup_json json_t *file = json_object();
    uint64_t ticks;

    for (int i = 0; file && i < PROGRAMS; i++) {
        struct program *program = &supervisor->programs[i];
        if (program->pidfd >= 0 && process_start_time(program->pid, &ticks) == 0)
            json_object_set_new(
                file, program->name,
                json_pack("{s:i, s:I}", "pid", (int)program->pid, "start_time", (json_int_t)ticks));
    }
    return file ? file_write_json(supervisor->run_fd, "programs.json", file, 0600, err)
                : error_oom(err);
}

/* ---- listening sockets ---------------------------------------------------------------------- */

static int socket_address(const char *text, struct sockaddr_storage *ret_address,
                          socklen_t *ret_length)
{
    struct listen_address parts;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (listen_address_parse(text, &parts) < 0)
        return -EINVAL;
    v4.sin_port = v6.sin6_port = htons(parts.port);
    bool is_v4 = inet_pton(AF_INET, parts.host, &v4.sin_addr) == 1;
    if (!is_v4)
        inet_pton(AF_INET6, parts.host, &v6.sin6_addr);
    *ret_length = is_v4 ? sizeof(v4) : sizeof(v6);
    memcpy(ret_address, is_v4 ? (void *)&v4 : (void *)&v6, *ret_length);
    return 0;
}

static int listen_tcp(const char *text, struct error *err)
{
    struct sockaddr_storage address;
    socklen_t length;
    int on = 1;

    if (socket_address(text, &address, &length) < 0)
        return error_set(err, EINVAL, "`%s` is no ADDRESS:PORT", text);
    cleanup_close int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_sys(err, errno, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1024) < 0)
        return error_sys(err, errno, "listen on %s", text);
    return TAKE_FD(fd);
}

static int listen_api_socket(struct supervisor *supervisor, gid_t group, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return error_sys(err, errno, "socket");
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/api.sock",
             supervisor->run_fd);
    unlinkat(supervisor->run_fd, "api.sock", 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchownat(supervisor->run_fd, "api.sock", 0, group, 0) < 0 ||
        fchmodat(supervisor->run_fd, "api.sock", 0660, 0) < 0 || listen(fd, 1024) < 0)
        return error_sys(err, errno, "listen on `%s/api.sock`", supervisor->config.run_dir);
    return TAKE_FD(fd);
}

/* Where the configuration has the listener of this name; "": nowhere; NULL: the API's unix socket.
 */
static const char *listener_address(const struct config *config, const char *name)
{
    const struct {
        const char *name, *address;
    } table[] = {{"http-tcp", config->api_listen},
                 {"https-tcp", config->api_tls_listen},
                 {"proxy", config->proxy_listen},
                 {"proxy-tls", config->proxy_tls_listen}};

    for (size_t i = 0; i < ELEMENTS(table); i++)
        if (str_equal(table[i].name, name))
            return table[i].address;
    return NULL;
}

static int open_listener(struct program *program, const char *name, struct error *err)
{
    struct supervisor *supervisor = program->supervisor;
    const char *address = listener_address(&supervisor->config, name);

    if (address)
        return address[0] ? listen_tcp(address, err) : -ENOENT;
    struct group *group = getgrnam(supervisor->config.api_group);
    return listen_api_socket(supervisor, group ? group->gr_gid : 0, err);
}

/* Those that are not there yet. */
static int open_listeners(struct program *program, struct error *err)
{
    for (int i = 0; i < LISTENERS_MAX && program->listener_names[i]; i++) {
        if (program->listeners[i] >= 0)
            continue;
        int fd = open_listener(program, program->listener_names[i], err);
        if (fd < 0 && fd != -ENOENT)
            return fd;
        program->listeners[i] = fd < 0 ? -1 : fd;
    }
    return 0;
}

/* ---- starting ---------------------------------------------------------------------------------
 */

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

struct passed {
    int fds[4 + LISTENERS_MAX];
    char names[128];
    int count;
};

static void pass(struct passed *passed, int fd, const char *name)
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
        program->role == ROLE_API && str_starts(supervisor->config.database_url, "postgres");
    struct jail jail = {libexec, run, data, sockets, connects && !sockets};

    if (!libexec || !run)
        return error_sys(err, errno, "finding `%s` and `%s`", supervisor->libexec_dir,
                         supervisor->config.run_dir);
    snprintf(ret_path, size, "%s/%s", libexec, program->name);
    return jail_make(&jail, err);
}

static _Noreturn void run_program(const struct program *program, struct passed *passed)
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
    pass(passed, root, "root");
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

static int make_config_fd(const struct program *program, struct error *err)
{
    cleanup_json json_t *config = config_export(&program->supervisor->config, program->audience);
    cleanup_free char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;

    return text ? memfd_sealed("auracode-config", text, strlen(text), err) : error_oom(err);
}

static int on_restart_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct program *program = userdata;
    struct error err = ERROR_NONE;

    (void)source;
    (void)usec;
    program->restart_source = sd_event_source_disable_unref(program->restart_source);
    if (program->supervisor->stopping)
        return 0;
    if (start_program(program, &err) < 0)
        log_error("%s", err.message);
    return 0;
}

/* At once the first time; a program that keeps ending within 10 s waits twice as long each time. */
static void schedule_restart(struct program *program)
{
    if (now_monotonic_ms() - program->started_ms > 10000)
        program->backoff_ms = 0;
    log_warning("%s ended; starting it again in %lld ms", program->name,
                (long long)program->backoff_ms);
    sd_event_add_time_relative(program->supervisor->event, &program->restart_source,
                               CLOCK_MONOTONIC, (uint64_t)program->backoff_ms * 1000, 0,
                               on_restart_time, program);
    program->backoff_ms = program->backoff_ms ? program->backoff_ms * 2 : 100;
    if (program->backoff_ms > BACKOFF_MAX_MS)
        program->backoff_ms = BACKOFF_MAX_MS;
}

static int on_program_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct program *program = userdata;
    siginfo_t info;

    (void)source;
    (void)revents;
    waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    program->exit_source = sd_event_source_disable_unref(program->exit_source);
    close_and_forget(&program->pidfd);
    if (program->supervisor->stopping)
        supervisor_check_stopped(program->supervisor);
    else
        schedule_restart(program);
    return 0;
}

static int watch_program(struct program *program, struct error *err)
{
    program->pidfd = pidfd_open(program->pid, 0);
    if (program->pidfd < 0)
        return error_sys(err, errno, "pidfd_open of %s", program->name);
    int r = sd_event_add_io(program->supervisor->event, &program->exit_source, program->pidfd,
                            EPOLLIN, on_program_exit, program);
    return r < 0 ? error_sys(err, r, "watching %s", program->name) : 0;
}

static int start_program(struct program *program, struct error *err)
{
    struct passed passed = {.count = 0};
    int pair[2];
    cleanup_close int config = make_config_fd(program, err);

    if (config < 0)
        return config;
    int r = open_listeners(program, err);
    if (r < 0)
        return r;
    if (ipc_pair(pair) < 0)
        return error_sys(err, errno, "socketpair");
    pass(&passed, pair[1], "control");
    pass(&passed, config, "config");
    pass(&passed, program->supervisor->certificates_fd, "certificates");
    for (int i = 0; i < LISTENERS_MAX; i++)
        pass(&passed, program->listeners[i], program->listener_names[i]);
    program->pid = fork();
    if (program->pid == 0)
        run_program(program, &passed);
    close(pair[1]);
    if (program->pid < 0) {
        close(pair[0]);
        return error_sys(err, errno, "starting %s", program->name);
    }
    program->started_ms = now_monotonic_ms();
    r = watch_program(program, err);
    if (r == 0)
        r = client_add(program->supervisor, pair[0], program->role, err);
    return r == 0 ? save_programs(program->supervisor, err) : r;
}

/* ---- keeping those of the last supervisor
 * -------------------------------------------------------- */

static bool keep_program(struct program *program, const json_t *file)
{
    json_t *entry = json_object_get(file, program->name);
    uint64_t ticks;

    program->pid = (pid_t)json_integer_value(json_object_get(entry, "pid"));
    if (program->pid <= 0 || process_start_time(program->pid, &ticks) < 0 ||
        (json_int_t)ticks != json_integer_value(json_object_get(entry, "start_time")))
        return false;
    program->started_ms = now_monotonic_ms();
    if (watch_program(program, NULL) < 0)
        return false;
    log_info("%s (pid %d) goes on", program->name, (int)program->pid);
    return true;
}

/* The file that a Unix socket is bound to, as a descriptor (unix(7) lacks it; Linux 4.14). */
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

static bool is_api_socket(const struct supervisor *supervisor, int fd)
{
    struct stat bound, ours;
    cleanup_close int file = ioctl(fd, SIOCUNIXFILE);

    return file >= 0 && fstat(file, &bound) == 0 &&
           fstatat(supervisor->run_fd, "api.sock", &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
           bound.st_dev == ours.st_dev && bound.st_ino == ours.st_ino;
}

static bool is_tcp_at(int fd, const char *listen_text)
{
    struct sockaddr_storage wanted, bound = {0};
    socklen_t wanted_length, length = sizeof(bound);

    return socket_address(listen_text, &wanted, &wanted_length) == 0 &&
           getsockname(fd, (struct sockaddr *)&bound, &length) == 0 && length == wanted_length &&
           memcmp(&bound, &wanted, length) == 0;
}

static bool listens(int fd)
{
    int type = 0, listening = 0;
    socklen_t length = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening;
}

static bool is_listener(const struct program *program, const char *name, int fd)
{
    const char *address = listener_address(&program->supervisor->config, name);

    if (!listens(fd))
        return false;
    return address ? is_tcp_at(fd, address) : is_api_socket(program->supervisor, fd);
}

static int take_listener(struct program *program, size_t i, const char *name, struct ipc_fds *fds,
                         struct error *err)
{
    char field[32];
    bool known = false;

    snprintf(field, sizeof(field), "listeners[%zu]", i);
    for (int l = 0; l < LISTENERS_MAX; l++) {
        if (!str_equal(name, program->listener_names[l]))
            continue;
        known = true;
        if (program->listeners[l] >= 0 || fds->fd[i] < 0)
            continue;
        if (!is_listener(program, name, fds->fd[i]))
            return error_set_field(err, field, "expected the socket that listens as `%s`", name);
        program->listeners[l] = ipc_fds_take(fds, i);
    }
    return known ? 0
                 : error_set_field(err, field, "expected a listening socket of %s", program->name);
}

static struct program *program_of_role(const struct supervisor *supervisor, unsigned int role)
{
    for (int i = 0; i < PROGRAMS; i++)
        if (supervisor->programs[i].role == role)
            return &supervisor->programs[i];
    return NULL;
}

int program_hello(struct supervisor *supervisor, unsigned int role, json_t *names,
                  struct ipc_fds *fds, struct error *err)
{
    struct program *program = program_of_role(supervisor, role);
    size_t i;
    json_t *name;
    int r = 0;

    if (json_array_size(names) != fds->count)
        return error_set_field(err, "listeners",
                               "expected one name for each of the %zu descriptors", fds->count);
    json_array_foreach(names, i, name)
    {
        r = program ? take_listener(program, i, json_string_value(name), fds, err) : -EINVAL;
        if (r < 0)
            break;
    }
    return r;
}

unsigned int program_role_of_uid(const struct supervisor *supervisor, uid_t uid)
{
    for (int i = 0; i < PROGRAMS; i++)
        if (supervisor->programs[i].uid == uid)
            return supervisor->programs[i].role;
    return 0;
}

pid_t program_pid(const struct supervisor *supervisor, int i)
{
    return supervisor->programs[i].pidfd >= 0 ? supervisor->programs[i].pid : 0;
}

const char *program_name(const struct supervisor *supervisor, int i)
{
    return supervisor->programs[i].name;
}

static int find_user(struct program *program, const char *name, struct error *err)
{
    struct passwd *user = getpwnam(name);

    if (!user)
        return error_set(err, ENOENT, "there is no user `%s` to run %s as: useradd --system %s",
                         name, program->name, name);
    if (user->pw_uid == 0)
        return error_set(err, EINVAL, "%s must not run as root", program->name);
    program->uid = user->pw_uid;
    program->gid = user->pw_gid;
    return 0;
}

static int prepare_api_folder(struct program *program, struct error *err)
{
    struct supervisor *supervisor = program->supervisor;

    int r = dir_make(supervisor->state_fd, "api", 0700, err);
    if (r == 0 &&
        fchownat(supervisor->state_fd, "api", program->uid, program->gid, AT_SYMLINK_NOFOLLOW) < 0)
        r = error_sys(err, errno, "chown of `%s/api`", supervisor->config.state_dir);
    return r;
}

int programs_start(struct supervisor *supervisor, struct error *err)
{
    static struct program programs[PROGRAMS] = {
        {.name = "auracode-api",
         .role = ROLE_API,
         .audience = CONFIG_FOR_API,
         .listener_names = {"http-unix", "http-tcp", "https-tcp"}},
        {.name = "auracode-proxy",
         .role = ROLE_PROXY,
         .audience = CONFIG_FOR_PROXY,
         .listener_names = {"proxy", "proxy-tls"}},
    };
    cleanup_json json_t *file = NULL;

    supervisor->programs = programs;
    for (int i = 0; i < PROGRAMS; i++) {
        programs[i].supervisor = supervisor;
        programs[i].pidfd = -1;
        for (int l = 0; l < LISTENERS_MAX; l++)
            programs[i].listeners[l] = -1;
    }
    int r = find_user(&programs[0], supervisor->config.api_user, err);
    if (r == 0)
        r = find_user(&programs[1], supervisor->config.proxy_user, err);
    if (r == 0)
        r = prepare_api_folder(&programs[0], err);
    if (r == 0)
        r = clients_listen(supervisor, err);
    file_read_json(supervisor->run_fd, "programs.json", 4096, &file, NULL);
    for (int i = 0; r == 0 && i < PROGRAMS; i++)
        if (!keep_program(&programs[i], file))
            r = start_program(&programs[i], err);
    return r;
}

void programs_stop(struct supervisor *supervisor)
{
    for (int i = 0; supervisor->programs && i < PROGRAMS; i++)
        if (supervisor->programs[i].pidfd >= 0)
            pidfd_send_signal(supervisor->programs[i].pidfd, SIGTERM, NULL, 0);
}

bool programs_alive(const struct supervisor *supervisor)
{
    for (int i = 0; supervisor->programs && i < PROGRAMS; i++)
        if (supervisor->programs[i].pidfd >= 0)
            return true;
    return false;
}

void programs_free(struct supervisor *supervisor)
{
    for (int i = 0; supervisor->programs && i < PROGRAMS; i++) {
        struct program *program = &supervisor->programs[i];
        sd_event_source_disable_unref(program->exit_source);
        sd_event_source_disable_unref(program->restart_source);
        close_and_forget(&program->pidfd);
        for (int l = 0; l < LISTENERS_MAX; l++)
            close_and_forget(&program->listeners[l]);
    }
}
