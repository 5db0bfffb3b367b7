/* auracode-proxy: from the browser to the dev server inside a sandbox.
 *
 * Theory of operation: threads of their own carry the data (worker.h); the main thread talks with
 * the supervisor and the sandboxes' inits (control.h) and publishes what it learns (route.h). The
 * program is started by auracoded with everything that it needs as descriptors and opens no file;
 * it can make nothing but use the sockets that it is handed. */
#include "proxy/access-log.h"
#include "proxy/control.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/figures.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/str.h"
#include "tls/report.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int read_config(struct config *config, struct error *err)
{
    int r = config_init(config, err);
    if (r < 0)
        return r;
    cleanup_close int fd = passed_fd_take("config");
    if (fd < 0)
        return error_sys(err, fd, "taking the descriptor `config`");
    return config_import(config, fd, err);
}

static int take_listeners(struct proxy *proxy, struct error *err)
{
    static const char *const names[] = {"proxy", "proxy-tls"};
    int fd;

    for (size_t i = 0; i < ELEMENTS(names); i++)
        while (proxy->n_listeners < LISTENERS_MAX && (fd = passed_fd_take(names[i])) >= 0) {
            proxy->listens_tls[proxy->n_listeners] = i == 1;
            proxy->listeners[proxy->n_listeners++] = fd;
        }
    return proxy->n_listeners > 0 ? 0 : error_set(err, ENOENT, "no listening socket was passed");
}

static void find_redirect(struct proxy *proxy)
{
    struct listen_address address = {.port = 443};

    proxy->redirects = str_equal(proxy->config.tls_redirect, "yes");
    listen_address_parse(proxy->config.proxy_tls_listen, &address);
    if (address.port != 443)
        snprintf(proxy->tls_port, sizeof(proxy->tls_port), ":%u", address.port);
}

/* A bad one at the start: what needs none is served, and the next SIGHUP may bring a better one. */
static int take_certificates(struct proxy *proxy, struct error *err)
{
    struct error problem = ERROR_NONE;
    int r = tls_context_init(&proxy->tls, err);
    int fd = passed_fd_take("certificates");

    if (fd >= 0 && r == 0 && certificate_store_update(&proxy->tls.store, fd, &problem) < 0)
        log_error("%s; no TLS connection will succeed", problem.message);
    return r;
}

/* Without them everything works but the counting. */
static void open_figures(struct proxy *proxy)
{
    struct error err = ERROR_NONE;
    cleanup_close int fd = passed_fd_take("figures");

    if (fd >= 0 && figures_map(fd, true, &proxy->figures, &err) < 0)
        log_warning("%s", err.message);
    if (proxy->figures)
        proxy->era = figures_begin(proxy->figures);
}

static unsigned int count_threads(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t threads = config->proxy_threads > 0 ? config->proxy_threads : cores;

    return threads < 1 ? 1 : threads > (int64_t)THREADS_MAX ? THREADS_MAX : (unsigned int)threads;
}

/* The supervisor passes a descriptor where the configuration names a file. */
static int open_access_log(struct proxy *proxy, struct error *err)
{
    int fd = passed_fd_take("access-log");

    if (fd < 0)
        return 0;
    return access_log_new(fd, proxy->n_workers, (uint64_t)proxy->config.proxy_access_log_size,
                          proxy->routes.wake, proxy->figures, &proxy->log, err);
}

static int start_workers(struct proxy *proxy, struct error *err)
{
    proxy->n_workers = count_threads(&proxy->config); /* reads /sys */
    atomic_store(&proxy->clients_max, clients_limit());
    int r = open_access_log(proxy, err);
    r = r < 0 ? r : proxy_confine(err);
    if (r == 0 && proxy->log)
        r = access_log_start(proxy->log, err);
    if (r < 0)
        return r;
    proxy->workers = calloc(proxy->n_workers, sizeof(*proxy->workers));
    if (!proxy->workers)
        return error_oom(err);
    for (unsigned int i = 0; i < proxy->n_workers; i++) {
        r = worker_init(&proxy->workers[i], proxy, err);
        if (r < 0)
            return r;
    }
    for (unsigned int i = 0; i < proxy->n_workers; i++) {
        r = worker_start(&proxy->workers[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void stop_workers(struct proxy *proxy)
{
    atomic_store(&proxy->draining, true);
    for (unsigned int i = 0; i < proxy->n_workers; i++)
        worker_wake(&proxy->workers[i]);
    for (unsigned int i = 0; i < proxy->n_workers; i++)
        pthread_join(proxy->workers[i].thread, NULL);
    for (unsigned int i = 0; i < proxy->n_workers; i++)
        worker_free(&proxy->workers[i]);
    access_log_free(proxy->log);
    free(proxy->workers);
}

static int run(struct proxy *proxy, struct error *err)
{
    struct control control;

    fd_raise_limit();
    int r = read_config(&proxy->config, err);
    if (r < 0)
        return r;
    log_set_level_name(proxy->config.log_level);
    find_redirect(proxy);
    proxy->domain = (struct text){proxy->config.proxy_domain, strlen(proxy->config.proxy_domain)};
    proxy->frame_origins =
        (struct text){proxy->config.proxy_frame_origins, strlen(proxy->config.proxy_frame_origins)};
    r = networks_parse(proxy->config.proxy_trusted_proxies, &proxy->trusted);
    if (r < 0)
        return error_sys(err, r, "reading proxy.trusted_proxies");
    r = take_listeners(proxy, err);
    r = r < 0 ? r : take_certificates(proxy, err);
    r = r < 0 ? r : preview_key_take(&proxy->preview_key, err);
    proxy->bridges = str_equal(proxy->config.proxy_bridge, "yes");
    if (r == 0 && (routes_init(&proxy->routes) < 0 || reports_init(&proxy->reports) < 0))
        r = error_set(err, ENOMEM, "setting up the table of routes");
    /* The control thread blocks signals first, so that no other thread can get them. */
    r = r < 0 ? r : control_init(&control, proxy, err);
    if (r == 0)
        open_figures(proxy);
    r = r < 0 ? r : start_workers(proxy, err);
    if (r < 0)
        return r;
    log_info("serving with %u threads", proxy->n_workers);
    r = control_run(&control, err);
    stop_workers(proxy);
    control_free(&control);
    routes_free(&proxy->routes);
    reports_free(&proxy->reports);
    tls_context_free(&proxy->tls);
    for (unsigned int i = 0; i < proxy->n_listeners; i++)
        close(proxy->listeners[i]);
    return r;
}

int main(int argc, char **argv)
{
    static struct proxy proxy;
    struct error err = ERROR_NONE;

    if (argc == 2 && str_equal(argv[1], "--check-certificates")) { /* by auracoded --check */
        certificates_check(stdout);
        return 0;
    }
    log_open("auracode-proxy", LOG_NOTICE);
    signal(SIGPIPE, SIG_IGN);
    int r = run(&proxy, &err);
    if (r < 0)
        log_error("%s", err.message);
    config_free(&proxy.config);
    return r < 0 ? 1 : 0;
}
