/* Theory of operation. The supervisor's events only say that a sandbox has changed; what it is now
 * is asked for. A supervisor that was killed is waited for; then the sandboxes are listed again,
 * those that are held already keep their sockets, and what is open is opened once more in its name.
 */
#include "resolver/control.h"

#include "resolver/box.h"
#include "resolver/query.h"

#include "base/cleanup.h"
#include "base/event-glue.h"
#include "base/log.h"
#include "base/passed-fds.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_US           ((uint64_t)50 * 1000)
#define GONE_MS            60000 /* then the supervisor does not come back */
#define COUNT_US           ((uint64_t)5 * 1000)
#define SERVERS_REFRESH_MS 5000

struct ask {
    struct control *control;
    char id[SANDBOX_ID_LENGTH + 1];
};

static void ask_about(struct control *control, const char *id, const char *op);

/* ---- one sandbox
 * ------------------------------------------------------------------------------------- */

static void held(struct box *box, const json_t *result)
{
    box_update(box, result);
    if (box->again)
        queries_grant_again(box);
    box->again = false;
}

static struct box *make(struct control *control, const char *id, const json_t *result,
                        struct ipc_fds *fds)
{
    struct box *box = NULL;
    int udp = ipc_fds_take(fds, 0), tcp = ipc_fds_take(fds, 1);

    if (udp < 0 || tcp < 0) {
        close_and_forget(&udp);
        close_and_forget(&tcp);
        return NULL;
    }
    if (box_new(control, id, udp, tcp, &box) < 0) {
        log_error("sandbox %s: its names cannot be served: out of memory", id);
        return NULL;
    }
    box->asked = json_integer_value(json_object_get(result, "queries"));
    box->refused = json_integer_value(json_object_get(result, "refusals"));
    return box;
}

static void on_about(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    cleanup_free struct ask *ask = userdata;
    struct box *box = box_find(ask->control, ask->id);
    int64_t generation = json_integer_value(json_object_get(result, "generation"));

    if (!result) {
        if (box && err->err != ECONNRESET) /* it has no network any more */
            box_free(box);
        return;
    }
    if (box && box->generation != generation) {
        box_free(box);
        box = NULL;
    }
    if (!box && fds->count == 0) {
        ask_about(ask->control, ask->id, "egress.sockets");
        return;
    }
    if (!box)
        box = make(ask->control, ask->id, result, fds);
    if (box)
        held(box, result);
}

static void ask_about(struct control *control, const char *id, const char *op)
{
    struct ask *ask = calloc(1, sizeof(*ask));

    if (!ask)
        return;
    ask->control = control;
    snprintf(ask->id, sizeof(ask->id), "%s", id);
    if (rpc_call(&control->supervisor, op, json_pack("{s:s}", "sandbox", id), NULL, 0, on_about,
                 ask, NULL, NULL) < 0)
        free(ask);
}

static void on_event(struct rpc *rpc, const char *name, json_t *event)
{
    struct control *control = rpc->userdata;
    const json_t *object = json_object_get(event, "sandbox");
    const char *id = json_string_value(json_object_get(object, "id"));
    const char *state = json_string_value(json_object_get(object, "state"));

    if (!str_equal(name, "sandbox.state") || !id || !state || !sandbox_id_valid(id))
        return;
    struct box *box = box_find(control, id);
    if (str_equal(state, "running"))
        ask_about(control, id, box ? "egress.get" : "egress.sockets");
    else if (box && !str_equal(state, "paused"))
        box_free(box);
}

/* ---- all of them
 * ------------------------------------------------------------------------------------ */

static void list(struct control *control, const char *after);

static void drop_unseen(struct control *control)
{
    for (struct box *box = control->boxes, *next; box; box = next) {
        next = box->next;
        if (!box->seen)
            box_free(box);
    }
}

static void on_list(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct control *control = userdata;
    const json_t *ids = json_object_get(result, "sandboxes");
    const char *last = NULL;
    size_t i;
    json_t *id;

    (void)fds;
    if (!result) {
        if (err->err != ECONNRESET)
            log_warning("the supervisor lists no sandboxes: %s", err->message);
        return;
    }
    upstream_set_servers(&control->upstream, json_object_get(result, "servers"));
    json_array_foreach(ids, i, id)
    {
        last = json_string_value(id);
        struct box *box = last ? box_find(control, last) : NULL;
        if (box)
            box->seen = true;
        if (last)
            ask_about(control, last, box ? "egress.get" : "egress.sockets");
    }
    if (json_is_true(json_object_get(result, "more")) && last)
        list(control, last);
    else
        drop_unseen(control);
}

static void list(struct control *control, const char *after)
{
    control->servers_at = now_monotonic_ms();
    rpc_call(&control->supervisor, "egress.list", json_pack("{s:s*}", "after", after), NULL, 0,
             on_list, control, NULL, NULL);
}

static void on_servers(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct control *control = userdata;

    (void)fds;
    (void)err;
    if (result)
        upstream_set_servers(&control->upstream, json_object_get(result, "servers"));
}

/* The host may have got other name servers meanwhile. */
static void on_silence(void *userdata)
{
    struct control *control = userdata;
    int64_t now = now_monotonic_ms();

    if (now - control->servers_at < SERVERS_REFRESH_MS || control->gone_since)
        return;
    control->servers_at = now;
    rpc_call(&control->supervisor, "egress.list", NULL, NULL, 0, on_servers, control, NULL, NULL);
}

/* ---- counting
 * ---------------------------------------------------------------------------------------- */

static void on_counted(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    (void)userdata;
    (void)result;
    (void)fds;
    (void)err;
}

static int on_count_time(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct control *control = userdata;

    (void)source;
    (void)usec;
    for (struct box *box = control->boxes; box && !control->gone_since; box = box->next) {
        if (!box->dirty)
            continue;
        box->dirty = false;
        rpc_call(&control->supervisor, "egress.count",
                 json_pack("{s:s, s:I, s:I}", "sandbox", box->id, "queries", (json_int_t)box->asked,
                           "refusals", (json_int_t)box->refused),
                 NULL, 0, on_counted, NULL, NULL, NULL);
    }
    return 0;
}

void control_counts_changed(struct control *control)
{
    int enabled = SD_EVENT_OFF;

    sd_event_source_get_enabled(control->count_timer, &enabled);
    if (enabled != SD_EVENT_OFF)
        return;
    sd_event_source_set_time_relative(control->count_timer, COUNT_US);
    sd_event_source_set_enabled(control->count_timer, SD_EVENT_ONESHOT);
}

/* ---- the connection
 * ----------------------------------------------------------------------------------- */

static void on_hello(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct control *control = userdata;

    (void)fds;
    if (!result) {
        if (err->err != ECONNRESET)
            log_warning("the supervisor refused us: %s", err->message);
        return;
    }
    control->gone_since = 0;
    control->retry = sd_event_source_disable_unref(control->retry);
    for (struct box *box = control->boxes; box; box = box->next) {
        box->seen = false;
        box->again = box->dirty = true;
    }
    control_counts_changed(control);
    list(control, NULL);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);

static void wait_for_supervisor(struct control *control)
{
    if (!control->gone_since)
        control->gone_since = now_monotonic_ms();
    control->retry = sd_event_source_disable_unref(control->retry);
    sd_event_add_time_relative(control->event, &control->retry, CLOCK_MONOTONIC, RETRY_US, 0,
                               on_retry, control);
}

static int on_supervisor(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct control *control = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    if (rpc_dispatch(&control->supervisor) >= 0)
        return 0;
    if (!control->gone_since)
        log_warning("the connection to the supervisor was lost");
    control->source = sd_event_source_disable_unref(control->source);
    wait_for_supervisor(control);
    rpc_close(&control->supervisor);
    return 0;
}

static int greet(struct control *control, int fd, struct error *err)
{
    rpc_init(&control->supervisor, fd, on_event, control);
    int r = event_add_ipc(control->event, &control->supervisor.ipc, on_supervisor, control,
                          &control->source);
    if (r < 0)
        return error_sys(err, r, "watching the supervisor");
    return rpc_call(&control->supervisor, "hello",
                    json_pack("{s:i, s:i}", "protocol", PROTOCOL_VERSION, "pid", (int)getpid()),
                    NULL, 0, on_hello, control, NULL, err);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct control *control = userdata;

    (void)source;
    (void)usec;
    if (now_monotonic_ms() - control->gone_since > GONE_MS) {
        log_error("the supervisor has not come back");
        return sd_event_exit(control->event, 1);
    }
    int fd = ipc_connect(AT_FDCWD, "supervisor.sock", NULL); /* base/confine.h */
    if (fd < 0) {
        wait_for_supervisor(control);
        return 0;
    }
    if (greet(control, fd, NULL) < 0) {
        control->source = sd_event_source_disable_unref(control->source);
        rpc_close(&control->supervisor);
        wait_for_supervisor(control);
    }
    return 0;
}

int control_init(struct control *control, struct error *err)
{
    control->supervisor.ipc.fd = -1;
    control->upstream.event = control->event;
    control->upstream.on_silence = on_silence;
    control->upstream.userdata = control;
    int r = sd_event_add_time(control->event, &control->count_timer, CLOCK_MONOTONIC, 0, 1000,
                              on_count_time, control);
    if (r >= 0)
        r = sd_event_source_set_enabled(control->count_timer, SD_EVENT_OFF);
    if (r < 0)
        return error_sys(err, r, "event loop");
    int fd = passed_fd_take("control");
    if (fd < 0)
        return error_sys(err, fd, "taking the descriptor `control`");
    return greet(control, fd, err);
}

void control_free(struct control *control)
{
    while (control->boxes)
        box_free(control->boxes);
    sd_event_source_disable_unref(control->source);
    sd_event_source_disable_unref(control->retry);
    sd_event_source_disable_unref(control->count_timer);
    if (control->supervisor.ipc.fd >= 0)
        rpc_close(&control->supervisor);
}
