/* auracode-resolver: names for sandboxes.
 *
 * Theory of operation: one thread, one loop. The supervisor hands it two sockets of each sandbox
 * that has a network, made inside of it (box.h); a question comes in there, is looked up with the
 * host's name servers (upstream.h), and the answer goes back when nothing in it leads inside
 * (packet.h). What domain rules allow is opened in the packet filter through the supervisor, which
 * checks it again (query.h). */
#include "resolver/control.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/str.h"

#include <signal.h>

static int read_config(struct config *config, struct error *err)
{
    int r = config_init(config, err);
    if (r < 0)
        return r;
    cleanup_close int fd = passed_fd_take("config");
    if (fd < 0)
        return error_sys(err, fd, "taking the descriptor `config`");
    r = config_import(config, fd, err);
    if (r == 0)
        log_set_level_name(config->log_level);
    return r;
}

static int open_loop(struct control *control, struct error *err)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    int r = sd_event_default(&control->event);
    if (r >= 0) /* without a handler: the loop ends */
        r = sd_event_add_signal(control->event, NULL, SIGTERM, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(control->event, NULL, SIGINT, NULL, NULL);
    return r < 0 ? error_sys(err, r, "event loop") : 0;
}

static int run(struct control *control, struct error *err)
{
    fd_raise_limit();
    int r = read_config(&control->config, err);
    if (r == 0)
        r = open_loop(control, err);
    if (r == 0)
        r = control_init(control, err);
    if (r == 0)
        r = resolver_confine(err);
    if (r < 0)
        return r;
    r = sd_event_loop(control->event);
    return r < 0 ? error_sys(err, r, "event loop") : r;
}

int main(void)
{
    static struct control control;
    struct error err = ERROR_NONE;

    log_open("auracode-resolver", LOG_NOTICE);
    signal(SIGPIPE, SIG_IGN);
    int r = run(&control, &err);
    if (r < 0)
        log_error("%s", err.message);
    control_free(&control);
    sd_event_unref(control.event);
    config_free(&control.config);
    return r < 0 ? 1 : 0;
}
