/* auracode-fetch: the keys of [auth] jwks_url, which the API may not fetch itself.
 *
 * Theory of operation: one thread waits for libcurl and the supervisor. A set of keys that is good
 * goes to the supervisor as a sealed memfd ("jwks.put"); "jwks.refresh" has it fetched again. There
 * is nothing to keep: when the supervisor goes, so does this program, and the next one starts
 * another. */
#include "fetch/fetch.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/protocol.h"
#include "base/rpc.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct program {
    struct config config;
    struct fetch fetch;
    struct rpc supervisor;
};

static void on_answer(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)fds;
    if (!result && err->err != ECONNRESET)
        log_warning("the supervisor refused us: %s", err->message);
}

static void on_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct program *program = rpc->userdata;

    (void)event;
    if (str_equal(name, "jwks.refresh"))
        fetch_again(&program->fetch);
}

static void on_found(void *userdata, const char *text)
{
    struct program *program = userdata;
    struct error err = ERROR_NONE;
    cleanup_close int fd = memfd_sealed("auracode-jwks", text, strlen(text), &err);

    if (fd < 0 ||
        rpc_call(&program->supervisor, "jwks.put", NULL, &fd, 1, on_answer, NULL, NULL, &err) < 0)
        log_warning("handing over the keys: %s", err.message);
}

static int read_config(struct config *config, struct error *err)
{
    int r = config_init(config, err);
    cleanup_close int fd = r < 0 ? -1 : passed_fd_take("config");

    if (r == 0 && fd < 0)
        r = error_sys(err, fd, "taking the descriptor `config`");
    if (r == 0)
        r = config_import(config, fd, err);
    if (r == 0)
        log_set_level_name(config->log_level);
    return r;
}

static int greet(struct program *program, struct error *err)
{
    int fd = passed_fd_take("control");

    if (fd < 0)
        return error_sys(err, fd, "taking the descriptor `control`");
    rpc_init(&program->supervisor, fd, on_event, program);
    return rpc_call(&program->supervisor, "hello",
                    json_pack("{s:i, s:i}", "protocol", PROTOCOL_VERSION, "pid", (int)getpid()),
                    NULL, 0, on_answer, NULL, NULL, err);
}

static int start(struct program *program, struct error *err)
{
    int r = read_config(&program->config, err);

    if (r == 0)
        r = fetch_init(&program->fetch, &program->config, err);
    program->fetch.found = on_found;
    program->fetch.userdata = program;
    if (r == 0)
        r = greet(program, err);
    return r == 0 ? fetch_confine(err) : r;
}

/* Until the supervisor is gone. */
static void serve(struct program *program)
{
    struct ipc *ipc = &program->supervisor.ipc;

    for (;;) {
        struct curl_waitfd supervisor = {.fd = ipc->fd, .events = CURL_WAIT_POLLIN};
        int timeout_ms = fetch_step(&program->fetch);
        if (ipc_pending(ipc))
            supervisor.events |= CURL_WAIT_POLLOUT;
        if (curl_multi_poll(program->fetch.multi, &supervisor, 1, timeout_ms, NULL) != CURLM_OK ||
            rpc_dispatch(&program->supervisor) < 0)
            return;
    }
}

int main(void)
{
    static struct program program = {.supervisor.ipc.fd = -1};
    struct error err = ERROR_NONE;

    log_open("auracode-fetch", LOG_NOTICE);
    signal(SIGPIPE, SIG_IGN);
    int r = start(&program, &err);
    if (r < 0)
        log_error("%s", err.message);
    else
        serve(&program);
    if (program.supervisor.ipc.fd >= 0)
        rpc_close(&program.supervisor);
    fetch_free(&program.fetch);
    config_free(&program.config);
    return r < 0 ? 1 : 0;
}
