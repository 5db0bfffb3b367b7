/* Theory of operation: see program.h. A program is watched by pidfd, also one that was kept
 * (program-keep.c). Its successor, when it ends, gets the listening sockets that it handed back in
 * its hello. */
#include "supervisor/program-internal.h"

#include "supervisor/client.h"
#include "supervisor/jwks.h"
#include "supervisor/sandbox.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/figures.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BACKOFF_MAX_MS 5000

/* Descriptors that the supervisor keeps for its programs, those of each by its role. */
static const struct {
    unsigned int roles;
    size_t at; /* in struct supervisor */
    const char *name;
} kept_fds[] = {
    {ROLE_API | ROLE_PROXY, offsetof(struct supervisor, certificates_fd), "certificates"},
    {ROLE_API | ROLE_PROXY, offsetof(struct supervisor, preview_key_fd), "preview-key"},
    {ROLE_API, offsetof(struct supervisor, login_key_fd), "login-key"},
    {ROLE_API, offsetof(struct supervisor, jwks_fd), "jwks"},
    {ROLE_PROXY, offsetof(struct supervisor, access_log_fd), "access-log"},
    {ROLE_HOOK, offsetof(struct supervisor, webhook_fds[1]), "webhooks"},
};

static void pass_kept(const struct program *program, struct passed *passed)
{
    const char *supervisor = (const char *)program->supervisor;

    for (size_t i = 0; i < ELEMENTS(kept_fds); i++)
        if (program->role & kept_fds[i].roles)
            program_pass(passed, *(const int *)(supervisor + kept_fds[i].at), kept_fds[i].name);
}

static int start_program(struct program *program, struct error *err);

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
    program->outdated_source = sd_event_source_disable_unref(program->outdated_source);
    program->outdated = false; /* the next one is of today */
    close_and_forget(&program->pidfd);
    if (program->supervisor->stopping)
        supervisor_check_stopped(program->supervisor);
    else
        schedule_restart(program);
    return 0;
}

static int on_leaving_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct program *program = userdata;
    siginfo_t info;

    (void)source;
    (void)revents;
    waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    program->leaving_source = sd_event_source_disable_unref(program->leaving_source);
    close_and_forget(&program->leaving_pidfd);
    supervisor_check_stopped(program->supervisor);
    return 0;
}

int program_watch(struct program *program, struct error *err)
{
    program->pidfd = pidfd_open(program->pid, 0);
    if (program->pidfd < 0)
        return error_sys(err, errno, "pidfd_open of %s", program->name);
    int r = sd_event_add_io(program->supervisor->event, &program->exit_source, program->pidfd,
                            EPOLLIN, on_program_exit, program);
    return r < 0 ? error_sys(err, r, "watching %s", program->name) : 0;
}

/* The proxy writes, the API only reads. Without figures both work. */
static int figures_for(const struct program *program)
{
    struct supervisor *supervisor = program->supervisor;
    struct error err = ERROR_NONE;

    if (supervisor->figures_fd < 0 || !(program->role & (ROLE_PROXY | ROLE_API)))
        return -1;
    int fd = program->role == ROLE_PROXY ? fcntl(supervisor->figures_fd, F_DUPFD_CLOEXEC, 0)
                                         : figures_read_only(supervisor->run_fd, &err);
    if (fd < 0)
        log_warning("%s goes without figures: %s", program->name,
                    err.err ? err.message : strerror(errno));
    return fd;
}

static int start_program(struct program *program, struct error *err)
{
    struct passed passed = {.count = 0};
    int pair[2];
    cleanup_close int config = make_config_fd(program, err);

    if (config < 0)
        return config;
    int r = program_listeners_open(program, err);
    if (r < 0)
        return r;
    if (ipc_pair(pair) < 0)
        return error_sys(err, errno, "socketpair");
    program_pass(&passed, pair[1], "control");
    program_pass(&passed, config, "config");
    pass_kept(program, &passed);
    cleanup_close int figures = figures_for(program);
    program_pass(&passed, figures, "figures");
    for (int i = 0; i < LISTENERS_MAX; i++)
        program_pass(&passed, program->listeners[i], program->listener_names[i]);
    program->pid = fork();
    if (program->pid == 0)
        program_run(program, &passed);
    close(pair[1]);
    if (program->pid < 0) {
        close(pair[0]);
        return error_sys(err, errno, "starting %s", program->name);
    }
    program->started_ms = now_monotonic_ms();
    program_made_of(program, program->made_of);
    r = program_watch(program, err);
    if (r == 0)
        r = client_add(program->supervisor, pair[0], program->role, err);
    return r == 0 ? programs_save(program->supervisor, err) : r;
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
        r = program ? program_listener_take(program, i, json_string_value(name), fds, err)
                    : -EINVAL;
        if (r < 0)
            break;
    }
    if (r == 0 && program)
        program_settle(program);
    return r;
}

int program_leave(struct supervisor *supervisor, unsigned int role, struct error *err)
{
    struct program *program = program_of_role(supervisor, role);

    if (!program || program->pidfd < 0 || program->leaving_pidfd >= 0 || supervisor->stopping)
        return error_set_code(err, EBUSY, "program_leaving", "another one is leaving");
    program->exit_source = sd_event_source_disable_unref(program->exit_source);
    program->outdated_source = sd_event_source_disable_unref(program->outdated_source);
    program->leaving_pidfd = TAKE_FD(program->pidfd);
    int r = sd_event_add_io(supervisor->event, &program->leaving_source, program->leaving_pidfd,
                            EPOLLIN, on_leaving_exit, program);
    if (r < 0)
        return error_sys(err, r, "watching %s", program->name);
    pidfd_send_signal(program->leaving_pidfd, SIGTERM, NULL, 0); /* it may only have said so */
    log_info("%s (pid %d) leaves", program->name, (int)program->pid);
    return start_program(program, err);
}

unsigned int program_role_of_uid(const struct supervisor *supervisor, uid_t uid)
{
    for (int i = 0; i < PROGRAMS; i++)
        if (supervisor->programs[i].uid == uid && !supervisor->programs[i].unwanted)
            return supervisor->programs[i].role;
    return 0;
}

pid_t program_pid(const struct supervisor *supervisor, int i)
{
    return supervisor->programs[i].pidfd >= 0 ? supervisor->programs[i].pid : 0;
}

bool program_wanted(const struct supervisor *supervisor, int i)
{
    return !supervisor->programs[i].unwanted;
}

const char *program_name(const struct supervisor *supervisor, int i)
{
    return supervisor->programs[i].name;
}

static int find_user(struct program *program, struct error *err)
{
    const char *config = (const char *)&program->supervisor->config;
    const char *name = *(char *const *)(config + program->user_at);
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

static int find_users(struct supervisor *supervisor, struct error *err)
{
    int r = 0;

    for (int i = 0; r == 0 && i < PROGRAMS; i++)
        if (!supervisor->programs[i].unwanted)
            r = find_user(&supervisor->programs[i], err);
    return r;
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
         .user_at = offsetof(struct config, api_user),
         .listener_names = {"http-unix", "http-tcp", "https-tcp"}},
        {.name = "auracode-proxy",
         .role = ROLE_PROXY,
         .audience = CONFIG_FOR_PROXY,
         .user_at = offsetof(struct config, proxy_user),
         .listener_names = {"proxy", "proxy-tls"}},
        {.name = "auracode-resolver",
         .role = ROLE_RESOLVER,
         .audience = CONFIG_FOR_RESOLVER,
         .user_at = offsetof(struct config, egress_user)},
        {.name = "auracode-hook",
         .role = ROLE_HOOK,
         .audience = CONFIG_FOR_HOOK,
         .user_at = offsetof(struct config, webhooks_user)},
        {.name = "auracode-fetch",
         .role = ROLE_FETCH,
         .audience = CONFIG_FOR_FETCH,
         .user_at = offsetof(struct config, auth_fetch_user)},
    };
    cleanup_json json_t *file = NULL;

    supervisor->programs = programs;
    for (int i = 0; i < PROGRAMS; i++) {
        programs[i].supervisor = supervisor;
        programs[i].pidfd = programs[i].leaving_pidfd = -1;
        for (int l = 0; l < LISTENERS_MAX; l++)
            programs[i].listeners[l] = -1;
    }
    program_of_role(supervisor, ROLE_FETCH)->unwanted = !jwks_wanted(&supervisor->config);
    int r = find_users(supervisor, err);
    if (r == 0 && ipc_pair(supervisor->webhook_fds) < 0)
        r = error_sys(err, errno, "socketpair");
    if (r == 0)
        r = prepare_api_folder(&programs[0], err);
    if (r == 0)
        r = clients_listen(supervisor, err);
    struct error problem = ERROR_NONE;
    supervisor->figures_fd = figures_create(supervisor->run_fd, &problem);
    if (supervisor->figures_fd < 0)
        log_warning("nothing is counted: %s", problem.message);
    file_read_json(supervisor->run_fd, "programs.json", 4096, &file, NULL);
    for (int i = 0; r == 0 && i < PROGRAMS; i++)
        if (!programs[i].unwanted && !program_keep(&programs[i], file))
            r = start_program(&programs[i], err);
    return r;
}

void programs_stop(struct supervisor *supervisor)
{
    for (int i = 0; supervisor->programs && i < PROGRAMS; i++) {
        if (supervisor->programs[i].pidfd >= 0)
            pidfd_send_signal(supervisor->programs[i].pidfd, SIGTERM, NULL, 0);
        if (supervisor->programs[i].leaving_pidfd >= 0)
            pidfd_send_signal(supervisor->programs[i].leaving_pidfd, SIGTERM, NULL, 0);
    }
}

bool programs_alive(const struct supervisor *supervisor)
{
    for (int i = 0; supervisor->programs && i < PROGRAMS; i++)
        if (supervisor->programs[i].pidfd >= 0 || supervisor->programs[i].leaving_pidfd >= 0)
            return true;
    return false;
}

int op_webhook_channel(struct request *request, void *params, struct error *err)
{
    const struct supervisor *supervisor = request->conn->userdata;

    (void)params;
    (void)err;
    request_reply(request, NULL, &supervisor->webhook_fds[0], 1);
    return 0;
}

void programs_free(struct supervisor *supervisor)
{
    close_and_forget(&supervisor->webhook_fds[0]);
    close_and_forget(&supervisor->webhook_fds[1]);
    close_and_forget(&supervisor->figures_fd);
    for (int i = 0; supervisor->programs && i < PROGRAMS; i++) {
        struct program *program = &supervisor->programs[i];
        sd_event_source_disable_unref(program->exit_source);
        sd_event_source_disable_unref(program->restart_source);
        sd_event_source_disable_unref(program->leaving_source);
        sd_event_source_disable_unref(program->outdated_source);
        close_and_forget(&program->pidfd);
        close_and_forget(&program->leaving_pidfd);
        for (int l = 0; l < LISTENERS_MAX; l++)
            close_and_forget(&program->listeners[l]);
    }
}
