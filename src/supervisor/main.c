/* auracoded, the supervisor.
 *
 * Theory of operation. It reads its configuration, takes the lock of its state directory (a POSIX
 * record lock, which a forked worker does not inherit), opens its folders, finds the cgroup
 * hierarchies, adopts the sandboxes that run, starts or keeps auracode-api and auracode-proxy, and
 * then only reacts. SIGTERM and SIGINT stop every sandbox and program and end it; SIGUSR1, which
 * systemd sends for a restart, and SIGKILL leave all of them running for the next supervisor. */
#include "supervisor/access-log.h"
#include "supervisor/certificates.h"
#include "supervisor/check.h"
#include "supervisor/client.h"
#include "supervisor/idle.h"
#include "supervisor/jwks.h"
#include "supervisor/own-filter.h"
#include "supervisor/pause.h"
#include "supervisor/privileges.h"
#include "supervisor/program.h"
#include "supervisor/sandbox.h"
#include "supervisor/secrets.h"
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/protocol.h"
#include "base/str.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

struct options {
    const char *config, *state_dir, *run_dir, *libexec_dir;
    bool check;
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},  {"state-dir", required_argument, NULL, 's'},
    {"run-dir", required_argument, NULL, 'r'}, {"libexec-dir", required_argument, NULL, 'l'},
    {"check", no_argument, NULL, 'k'},         {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "usage: auracoded [OPTION]...\n"
    "The AuraCode supervisor: builds sandboxes and runs auracode-api and auracode-proxy.\n\n"
    "  --config FILE      read FILE instead of " PACKAGE_SYSCONFDIR "/auracode.conf\n"
    "  --state-dir DIR    keep sandboxes and templates in DIR (default /var/lib/auracode)\n"
    "  --run-dir DIR      keep sockets and run-time state in DIR (default /run/auracode)\n"
    "  --libexec-dir DIR  find auracode-api, -proxy and -init in DIR\n"
    "  --check            print what is needed from this machine, one line each, and exit\n"
    "  --version          print the version and exit\n";

/* Returns 1 to go on, 0 after --help or --version, -EINVAL on bad usage. */
static int parse_options(int argc, char **argv, struct options *options)
{
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        switch (option) {
        case 'c':
            options->config = optarg;
            break;
        case 's':
            options->state_dir = optarg;
            break;
        case 'r':
            options->run_dir = optarg;
            break;
        case 'l':
            options->libexec_dir = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 'v':
            puts("auracoded " PACKAGE_VERSION);
            return 0;
        case 'h':
            fputs(help_text, stdout);
            return 0;
        default:
            return -EINVAL;
        }
    if (optind < argc) {
        fprintf(stderr, "auracoded: unexpected argument `%s`\n", argv[optind]);
        return -EINVAL;
    }
    return 1;
}

static int replace(char **target, const char *value)
{
    if (!value)
        return 0;
    free(*target);
    *target = strdup(value);
    return *target ? 0 : -ENOMEM;
}

static int load_config(struct config *config, const struct options *options, struct error *err)
{
    const char *path = options->config ? options->config : PACKAGE_SYSCONFDIR "/auracode.conf";

    int r = config_init(config, err);
    if (r == 0)
        r = config_load(config, path, options->config != NULL, err);
    if (r == 0 && (replace(&config->state_dir, options->state_dir) < 0 ||
                   replace(&config->run_dir, options->run_dir) < 0 ||
                   (!config->policies_dir[0] &&
                    replace(&config->policies_dir, PACKAGE_DATADIR "/policies") < 0) ||
                   (!config->egress_bundles[0] &&
                    replace(&config->egress_bundles, PACKAGE_DATADIR "/egress/bundles.json") < 0)))
        r = error_oom(err);
    return r == 0 ? config_finish(config, err) : r;
}

/* ---- folders
 * ---------------------------------------------------------------------------------------- */

static int open_dir(int parent, const char *path, mode_t mode, int *ret_fd, struct error *err)
{
    int r = dir_make(parent, path, mode, err);

    if (r < 0)
        return r;
    *ret_fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? error_sys(err, errno, "open `%s`", path) : 0;
}

static int take_lock(struct supervisor *supervisor, struct error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = openat(supervisor->state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_sys(err, errno, "open `%s/lock`", supervisor->config.state_dir);
    if (fcntl(fd, F_SETLK, &lock) < 0) /* kept open, and locked, until the process ends */
        return error_set(err, EBUSY, "another auracoded runs on `%s`",
                         supervisor->config.state_dir);
    return 0;
}

static int open_folders(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = &supervisor->config;

    int r = open_dir(AT_FDCWD, config->state_dir, 0711, &supervisor->state_fd, err);
    if (r == 0)
        r = take_lock(supervisor, err);
    if (r == 0)
        r = open_dir(AT_FDCWD, config->run_dir, 0755, &supervisor->run_fd, err);
    if (r == 0)
        r = open_dir(supervisor->state_fd, "sandboxes", 0700, &supervisor->sandboxes_fd, err);
    if (r == 0)
        r = open_dir(supervisor->state_fd, "trash", 0700, &supervisor->trash_fd, err);
    if (r == 0)
        r = open_dir(supervisor->run_fd, "sandboxes", 0700, &supervisor->run_sandboxes_fd, err);
    if (r == 0)
        r = open_dir(AT_FDCWD, config->templates_dir, 0700, &supervisor->templates_fd, err);
    return r;
}

/* The init as a sealed memfd: what runs inside can never be written from inside (CVE-2019-5736). */
static int load_init(struct supervisor *supervisor, struct error *err)
{
    char path[512];
    struct stat status;

    snprintf(path, sizeof(path), "%s/auracode-init", supervisor->libexec_dir);
    cleanup_close int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) < 0)
        return error_sys(err, errno, "open `%s`", path);
    cleanup_close int fd =
        memfd_create("auracode-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* MFD_EXEC is younger than kernel 6.1 */
        fd = memfd_create("auracode-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_sys(err, errno, "memfd_create");
    for (off_t left = status.st_size; left > 0;) {
        ssize_t n = sendfile(fd, file, NULL, (size_t)left);
        if (n <= 0)
            return error_sys(err, n < 0 ? errno : EIO, "copying `%s`", path);
        left -= n;
    }
    /* executable but not readable: the kernel then counts /proc/PID of the init to the host's root,
     * so that not even the sandbox's root may look into it */
    if (fchmod(fd, 0111) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return error_sys(err, errno, "sealing the init");
    supervisor->init_fd = TAKE_FD(fd);
    return 0;
}

/* ---- stopping
 * ------------------------------------------------------------------------------------------ */

static bool all_at_rest(const struct supervisor *supervisor)
{
    for (const struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state != SANDBOX_STOPPED && sandbox->state != SANDBOX_FAILED)
            return false;
    return true;
}

void supervisor_check_stopped(struct supervisor *supervisor)
{
    if (!supervisor->stopping)
        return;
    if (all_at_rest(supervisor) && supervisor->workers == 0 && !programs_alive(supervisor))
        sd_event_exit(supervisor->event, 0);
}

static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                          void *userdata)
{
    struct supervisor *supervisor = userdata;

    (void)source;
    if (supervisor->stopping)
        return 0;
    log_notice("signal %u: stopping every sandbox", info->ssi_signo);
    supervisor->stopping = true;
    sd_notify(0, "STOPPING=1");
    programs_stop(supervisor);
    for (struct sandbox *sandbox = supervisor->sandboxes; sandbox; sandbox = sandbox->next) {
        struct error err = ERROR_NONE;
        if (sandbox_lives(sandbox) && sandbox_stop(sandbox, 3000, &err) < 0)
            log_warning("sandbox %s: %s", sandbox->id, err.message);
    }
    supervisor_check_stopped(supervisor);
    return 0;
}

/* All that matters is on disk and in the kernel at any moment, or SIGKILL would lose it. */
static int on_leave_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                           void *userdata)
{
    struct supervisor *supervisor = userdata;

    (void)source;
    (void)info;
    if (supervisor->stopping)
        return 0;
    log_notice("restarting: sandboxes and programs go on");
    sd_notify(0, "STOPPING=1");
    _exit(EXIT_SUCCESS);
}

/* ---- life
 * ------------------------------------------------------------------------------------------------
 */

/* Also checks that the configured default is among them. */
static int load_policies(struct supervisor *supervisor, struct error *err)
{
    const struct policy *policy;
    int r = policies_load(&supervisor->policies, err);

    return r == 0
               ? policy_find(&supervisor->policies, supervisor->config.sandbox_policy, &policy, err)
               : r;
}

/* Connections that are made from now on get the new ones; what the programs say to them is in the
 * log beside this. */
static void reload_certificates(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (certificates_reload(supervisor, &err) < 0)
        log_error("reload: %s; the certificates stay as they were", err.message);
    else if (supervisor->certificates_fd >= 0)
        log_notice("reload: the files of [tls] were read again and handed to the programs");
}

/* Those that run get what the bundles mean now. */
static void reload_bundles(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (egress_reload(supervisor, &err) < 0)
        log_error("reload: %s; the egress bundles stay as they were", err.message);
}

static void reload_access_log(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    if (access_log_reopen(supervisor, &err) < 0)
        log_error("reload: %s; the access log goes on in the file that is open", err.message);
}

/* Sandboxes that are started from now on have the new ones; after an error, the old. */
static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                            void *userdata)
{
    struct supervisor *supervisor = userdata;
    struct error err = ERROR_NONE;

    (void)source;
    (void)info;
    if (policies_load(&supervisor->policies, &err) < 0)
        log_error("reload: %s; the policies stay as they were", err.message);
    else
        log_notice("reload: policies of `%s` read again", supervisor->policies.directory);
    reload_bundles(supervisor);
    reload_certificates(supervisor);
    reload_access_log(supervisor);
    return 0;
}

static int open_loop(struct supervisor *supervisor, struct error *err)
{
    static const int stop_signals[] = {SIGTERM, SIGINT};
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGUSR1);
    for (size_t i = 0; i < ELEMENTS(stop_signals); i++)
        sigaddset(&blocked, stop_signals[i]);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = sd_event_default(&supervisor->event);
    for (size_t i = 0; r >= 0 && i < ELEMENTS(stop_signals); i++)
        r = sd_event_add_signal(supervisor->event, NULL, stop_signals[i], on_stop_signal,
                                supervisor);
    if (r >= 0)
        r = sd_event_add_signal(supervisor->event, NULL, SIGHUP, on_reload_signal, supervisor);
    if (r >= 0)
        r = sd_event_add_signal(supervisor->event, NULL, SIGUSR1, on_leave_signal, supervisor);
    if (r >= 0)
        r = sd_event_set_watchdog(supervisor->event, 1);
    return r < 0 ? error_sys(err, r, "event loop") : 0;
}

static int bring_up(struct supervisor *supervisor, struct error *err)
{
    int r = privileges_drop(err);

    if (r == 0)
        r = own_filters_compile(err);
    if (r == 0)
        r = open_folders(supervisor, err);
    if (r == 0)
        r = access_log_open(supervisor, err);
    if (r == 0)
        r = disk_choose(supervisor, err);
    if (r == 0)
        r = load_init(supervisor, err);
    if (r == 0)
        r = cgroup_tree_open(&supervisor->cgroups, supervisor->config.sandbox_cgroup,
                             supervisor->state_fd, err);
    if (r == 0)
        r = cpus_find(supervisor, err);
    if (r == 0)
        r = subnet_parse(supervisor->config.sandbox_subnet, supervisor->config.sandbox_cgroup,
                         &supervisor->subnet, err);
    if (r == 0)
        r = open_loop(supervisor, err);
    if (r < 0)
        return r;
    supervisor->slots = calloc((size_t)supervisor->config.ids_count, 1);
    if (!supervisor->slots)
        return error_oom(err);
    supervisor->policies.directory = supervisor->config.policies_dir;
    r = load_policies(supervisor, err);
    if (r == 0)
        r = certificates_open(supervisor, err);
    if (r == 0)
        r = secrets_open(supervisor, err);
    jwks_open(supervisor);
    if (r == 0)
        r = own_filter_install(err);
    if (r == 0)
        r = egress_open(supervisor, err);
    if (r < 0)
        return r;
    sandboxes_adopt(supervisor);
    r = egress_begin(supervisor, err);
    if (r < 0)
        return r;
    r = disk_guard_start(supervisor, err);
    if (r < 0)
        return r;
    r = programs_start(supervisor, err);
    return r < 0 ? r : idle_start(supervisor, err);
}

static void tear_down(struct supervisor *supervisor)
{
    clients_close(supervisor);
    programs_free(supervisor);
    egress_close(supervisor);
    while (supervisor->sandboxes)
        sandbox_free(supervisor->sandboxes);
    cgroup_tree_remove(&supervisor->cgroups);
    unlinkat(supervisor->run_fd, "programs.json", 0);
    unlinkat(supervisor->run_fd, "supervisor.sock", 0);
    unlinkat(supervisor->run_fd, "api.sock", 0);
    policies_free(&supervisor->policies);
    free(supervisor->slots);
    free(supervisor->cpuinfo);
    sd_event_unref(supervisor->event);
}

static int serve(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;

    umask(022);
    fd_raise_limit();
    prctl(PR_SET_DUMPABLE, 0);
    int r = bring_up(supervisor, &err);
    if (r < 0) {
        log_error("%s", err.message);
        return EXIT_FAILURE;
    }
    log_notice("auracoded %s serves `%s` (cgroups: %s; disks: %s)", PACKAGE_VERSION,
               supervisor->config.state_dir, cgroup_tree_mode(&supervisor->cgroups),
               supervisor->disk_text);
    sd_notify(0, "READY=1");
    r = sd_event_loop(supervisor->event);
    tear_down(supervisor);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {.libexec_dir = PACKAGE_LIBEXECDIR};
    struct error err = ERROR_NONE;
    struct supervisor supervisor = {.state_fd = -1,
                                    .run_fd = -1,
                                    .listen_fd = -1,
                                    .figures_fd = -1,
                                    .certificates_fd = -1,
                                    .preview_key_fd = -1,
                                    .access_log_fd = -1,
                                    .login_key_fd = -1,
                                    .webhook_fds = {-1, -1},
                                    .jwks_fd = -1};

    log_open("auracoded", LOG_INFO);
    int r = parse_options(argc, argv, &options);
    if (r <= 0)
        return r < 0 ? 2 : EXIT_SUCCESS;
    if (load_config(&supervisor.config, &options, &err) < 0) {
        log_error("%s", err.message);
        return EXIT_FAILURE;
    }
    log_set_level_name(supervisor.config.log_level);
    supervisor.libexec_dir = options.libexec_dir;
    if (options.check)
        r = check_run(stdout, &supervisor.config, supervisor.libexec_dir) == 0 ? EXIT_SUCCESS
                                                                               : EXIT_FAILURE;
    else
        r = serve(&supervisor);
    config_free(&supervisor.config);
    return r;
}
