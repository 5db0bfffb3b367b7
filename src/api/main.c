/* auracode-api: the control API. Started by the supervisor as an unprivileged user with its sockets
 * open; it lives on when the supervisor does not. See api.h for how its parts hang together. */
#include "api/api.h"

#include "api/account/accounts.h"
#include "api/audit/audit.h"
#include "api/db/db.h"
#include "api/dev-wait.h"
#include "api/ended.h"
#include "api/events/hub.h"
#include "api/http.h"
#include "api/inits.h"
#include "api/jwt.h"
#include "api/store/answers.h"
#include "api/supervisor.h"
#include "api/webhooks/webhooks.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/figures.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/str.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>

#define GRACE_US       (5 * (uint64_t)1000000)
#define STRANGER_RATE  1.0 /* refused authentications a second and address */
#define STRANGER_BURST 20.0
#define KEY_RATE       500.0 /* requests a second and API key */
#define KEY_BURST      1000.0

/* Browsers are sent to the listener with TLS where there is one. */
static void find_preview(struct api *api)
{
    const struct config *config = &api->config;
    bool tls = config->proxy_tls_listen[0] != '\0';
    struct listen_address proxy = {.port = 0};

    listen_address_parse(tls ? config->proxy_tls_listen : config->proxy_listen, &proxy);
    api->preview_scheme = tls ? "https" : "http";
    if (proxy.port != (tls ? 443 : 80))
        snprintf(api->preview_port, sizeof(api->preview_port), ":%u", proxy.port);
}

static int load_config(struct api *api, struct error *err)
{
    int fd = passed_fd_take("config");
    int r = config_init(&api->config, err);

    if (fd < 0)
        return error_sys(err, fd, "the descriptor `config`");
    if (r == 0)
        r = config_import(&api->config, fd, err);
    close(fd);
    if (r < 0)
        return r;
    log_set_level_name(api->config.log_level);
    find_preview(api);
    return 0;
}

/* The only look-up in the system's user database, before anything is served. */
static void find_admin_group(struct api *api)
{
    const struct group *group = getgrnam(api->config.api_group);

    api->admin_gid = group ? group->gr_gid : (gid_t)-1;
    if (!group)
        log_notice("there is no group `%s`: only root may use the unix socket",
                   api->config.api_group);
}

static int start_listeners(struct api *api, struct listener_fd *listeners, size_t *ret_count,
                           struct error *err)
{
    static const struct {
        const char *name;
        enum http_transport transport;
    } names[] = {{"http-unix", HTTP_UNIX}, {"http-tcp", HTTP_TCP}, {"https-tcp", HTTP_TLS}};
    size_t count = 0;
    int r = http_new(api, err);

    for (size_t i = 0; r == 0 && i < ELEMENTS(names); i++) {
        int fd = passed_fd_take(names[i].name);
        if (fd == -ENOENT)
            continue;
        if (fd < 0)
            return error_sys(err, fd, "the descriptor `%s`", names[i].name);
        listeners[count++] = (struct listener_fd){names[i].name, fd};
        r = http_listen(api->http, fd, names[i].transport, err);
    }
    *ret_count = count;
    return r;
}

/* A bad one at the start: what needs none is served, and the next SIGHUP may bring a better one. */
static int take_certificates(struct api *api, struct error *err)
{
    struct error problem = ERROR_NONE;
    int r = tls_context_init(&api->tls, err);
    int fd = passed_fd_take("certificates");

    if (fd >= 0 && r == 0 && certificate_store_update(&api->tls.store, fd, &problem) < 0)
        log_error("%s; no TLS connection will succeed", problem.message);
    return r;
}

/* Those that were fetched for an earlier one of us. */
static void take_keys(struct api *api)
{
    struct error err = ERROR_NONE;
    cleanup_close int fd = passed_fd_take("jwks");

    if (!str_starts(api->config.auth_jwks_url, "http"))
        return;
    jwt_on_unknown_key(api->jwt, supervisor_refresh_keys, api);
    if (fd < 0)
        log_notice("no token of RS256 or ES256 is taken until the keys of [auth] jwks_url come");
    else if (jwt_read_keys(api->jwt, fd, &err) < 0)
        log_warning("%s", err.message);
}

static void open_figures(struct api *api)
{
    struct error err = ERROR_NONE;
    cleanup_close int fd = passed_fd_take("figures");

    if (fd >= 0 && figures_map(fd, false, &api->figures, &err) < 0)
        log_warning("%s", err.message);
}

static void on_drained(struct api *api)
{
    sd_event_exit(api->event, EXIT_SUCCESS);
}

static void on_idle(struct api *api)
{
    audit_drain(api->audit, on_drained);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)usec;
    (void)userdata;
    return sd_event_exit(sd_event_source_get_event(source), EXIT_SUCCESS);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info,
                        void *userdata)
{
    struct api *api = userdata;

    (void)source;
    (void)info;
    if (api->stopping)
        return 0;
    api->stopping = true;
    sd_notify(0, "STOPPING=1");
    log_info("stopping");
    sd_event_add_time_relative(api->event, NULL, CLOCK_MONOTONIC, GRACE_US, 1000, on_grace_over,
                               NULL);
    supervisor_leave(api->supervisor);
    http_quiesce(api->http, on_idle);
    return 0;
}

static int set_up_loop(struct api *api, struct error *err)
{
    sigset_t mask;
    int r = sd_event_new(&api->event);

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    if (r >= 0 && sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
        r = -errno;
    if (r >= 0)
        r = sd_event_add_signal(api->event, NULL, SIGTERM, on_terminate, api);
    if (r >= 0)
        r = sd_event_add_signal(api->event, NULL, SIGINT, on_terminate, api);
    return r < 0 ? error_sys(err, r, "setting up the event loop") : 0;
}

static int start(struct api *api, struct listener_fd *listeners, struct error *err)
{
    size_t n_listeners = 0;
    int r = load_config(api, err);

    if (r == 0)
        r = set_up_loop(api, err);
    if (r < 0)
        return r;
    find_admin_group(api);
    limiter_init(&api->strangers, STRANGER_RATE, STRANGER_BURST);
    limiter_init(&api->keys, KEY_RATE, KEY_BURST);
    if (getrandom(&api->limiter_seed, sizeof(api->limiter_seed), 0) < 0)
        return error_sys(err, errno, "getrandom");
    api->dev_waiters = dev_waiters_new(api);
    api->inits = inits_new(api);
    api->events = event_hub_new(api);
    if (!api->dev_waiters || !api->inits || !api->events)
        return error_oom(err);
    r = db_open(api->event, api->config.database_url, (unsigned int)api->config.database_pool,
                &api->db, err);
    if (r == 0)
        r = jwt_new(&api->config, &api->jwt, err);
    if (r < 0)
        return r;
    take_keys(api);
    api->audit = audit_new(api);
    api->audit_prune = audit_prune_new(api);
    api->webhooks = webhooks_new(api);
    if (!api->audit || !api->audit_prune || !api->webhooks)
        return error_oom(err);
    answers_reset(api->db);
    open_figures(api);
    r = take_certificates(api, err);
    if (r == 0)
        r = preview_key_take(&api->preview_key, err);
    if (r == 0)
        r = accounts_take_key(api, err);
    if (r == 0)
        r = start_listeners(api, listeners, &n_listeners, err);
    if (r == 0)
        r = supervisor_open(api, passed_fd_take("control"), listeners, n_listeners, err);
    if (r == 0)
        r = api_confine(api, err);
    return r == 0 ? accounts_new(api, err) : r;
}

/* In the order in which what waits is answered: first whoever waits for others, then the
 * connections that carry the answers. */
static void finish(struct api *api)
{
    api->stopping = api->ending = true;
    if (api->http)
        http_abort_all(api->http);
    db_abandon(api->db); /* libmicrohttpd stops with no request that waits */
    ended_close(api);
    supervisor_close(api->supervisor);
    inits_free(api->inits);
    dev_waiters_free(api->dev_waiters);
    accounts_free(api->accounts);
    if (api->http)
        http_run(api->http);
    http_free(api->http);
    event_hub_free(api->events);
    audit_end(api->audit);
    db_close(api->db);
    audit_prune_free(api->audit_prune);
    audit_free(api->audit);
    webhooks_free(api->webhooks);
    jwt_free(api->jwt);
    tls_context_free(&api->tls);
    sd_event_unref(api->event);
    config_free(&api->config);
}

int main(void)
{
    static struct api api = {.admin_gid = (gid_t)-1};
    struct listener_fd listeners[HTTP_LISTENERS_MAX];
    struct error err = ERROR_NONE;
    int status = EXIT_FAILURE;

    log_open("auracode-api", LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    fd_raise_limit();
    if (start(&api, listeners, &err) < 0)
        log_error("%s", err.message);
    else
        status = sd_event_loop(api.event);
    finish(&api);
    return status < 0 ? EXIT_FAILURE : status;
}
