/* Theory of operation: the service is one process (with its group) and a state machine.
 *
 *   stopped --set--> starting --listens and answers HTTP--> ready
 *   ready --port gone--> starting;  starting, ready --exit--> crashed --backoff--> starting
 *
 * `poll` reads the listening ports, feeds the state machine and tells everybody of changes. A
 * request that needs the old process gone first (set, stop) kills its group and waits in `pending`
 * or `stops` for on_ended. */
#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/server.h"
#include "base/str.h"
#include "init/cause.h"
#include "init/conn.h"
#include "init/oom.h"
#include "init/paths.h"
#include "init/ports.h"
#include "init/probe.h"
#include "init/process.h"
#include "init/session.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LOG_BYTES         (1024u * 1024u)
#define OBJECT_BYTES_MAX  8000u
#define COMMAND_BYTES_MAX 2000u
#define STOPS_MAX         16u
#define FAILURES_MAX      8u
#define POLL_STARTING_MS  25
#define POLL_MS           250
#define PROBE_PAUSE_MS    100
#define OTHER_PORT_MS     2000
#define LINES_EVENT_MS    250
#define STOP_GRACE_MS     5000
#define BACKOFF_FIRST_MS  250
#define BACKOFF_MAX_MS    10000
#define READY_LONG_MS     30000
#define START_TIMEOUT_MS  60000

enum state { STOPPED, STARTING, READY, CRASHED };

static const char *const state_names[] = {"stopped", "starting", "ready", "crashed"};

struct definition {
    json_t *argv, *env, *cwd; /* env, cwd: may be NULL */
    int64_t port, start_timeout_ms;
    bool auto_restart, path_form;
};

static struct {
    struct definition definition;
    struct ring *log;
    struct process *process; /* NULL: none lives */
    pid_t pid;
    int64_t process_id; /* of the last one; 0: none yet */
    enum state state;
    int64_t since_ms;    /* realtime */
    int64_t ready_at_ms; /* monotonic, 0: not in this run */
    uint16_t port;       /* while ready, else 0 */
    const char *address; /* while ready */
    int64_t restarts;
    unsigned int failures; /* in a row without being ready */
    int64_t backoff_ms;
    json_t *cause;        /* cause, cause_text, cause_detail, limits_hit; NULL: none */
    char kill_cause[256]; /* why we killed it; "": we did not */

    bool stopping;
    struct request *pending; /* service.set waiting for the old process to go */
    struct definition next;  /* what it sets */
    struct request *stops[STOPS_MAX];
    size_t n_stops;

    struct port_set ports, before; /* now; when the process was started */
    struct probe probe;
    int64_t probe_after_ms; /* monotonic: no probe earlier */
    uint16_t probed;        /* the last port probed */
    uint16_t other_port;    /* a new port, not the expected one, that answered HTTP */
    int64_t other_since_ms;
    int64_t lines_sent_ms, lines_sent_at; /* monotonic; log offset */
    struct timer poll, start_timeout, backoff, kill;
} service;

static void definition_clear(struct definition *definition)
{
    json_decref(definition->argv);
    json_decref(definition->env);
    json_decref(definition->cwd);
    *definition = (struct definition){0};
}

/* The command, clipped: the object has to fit into a packet with room to spare. */
static json_t *command_json(void)
{
    json_t *command = json_array(), *argument;
    size_t i, bytes = 0;

    json_array_foreach(service.definition.argv, i, argument)
    {
        bytes += json_dumpb(argument, NULL, 0, JSON_ENCODE_ANY) + 1;
        if (bytes > COMMAND_BYTES_MAX) {
            json_array_append_new(command, json_string("..."));
            break;
        }
        json_array_append(command, argument);
    }
    return command;
}

static json_t *optional_integer(int64_t value)
{
    return value ? json_integer(value) : json_null();
}

/* A text that was cut inside a character is no JSON string. */
static json_t *text_json(const char *text)
{
    cleanup_free char *shown = path_shown_name(text);

    return shown ? json_string(shown) : json_null();
}

/* Could not be started. */
static json_t *spawn_cause(const struct error *err)
{
    return json_pack("{s:s, s:o, s:{s:s}, s:[]}", "cause", "spawn_failed", "cause_text",
                     text_json(err->message), "cause_detail", "code", err->code, "limits_hit");
}

static json_t *end_cause(const struct process *process)
{
    json_t *cause = json_object();

    if (!cause)
        return NULL;
    cause_add_to(process_cause(process), cause);
    if (service.kill_cause[0])
        json_object_set_new(cause, "cause_text", text_json(service.kill_cause));
    return cause;
}

static json_t *service_json(void)
{
    json_t *lines = ring_last_lines(service.log, 20, 4096);
    json_t *object =
        json_pack("{s:s, s:o, s:s?, s:o, s:I, s:n, s:n, s:n, s:[], s:o, s:I, s:o, s:b, s:b}",
                  "state", state_names[service.state], "port", optional_integer(service.port),
                  "address", service.address, "process_id", optional_integer(service.process_id),
                  "restarts", (json_int_t)service.restarts, "cause", "cause_text", "cause_detail",
                  "limits_hit", "last_lines", lines ? lines : json_array(), "since",
                  (json_int_t)service.since_ms, "command", command_json(), "auto_restart",
                  service.definition.auto_restart, "path_form", service.definition.path_form);

    if (object && service.cause)
        json_object_update(object, service.cause);
    lines = json_object_get(object, "last_lines");
    while (json_array_size(lines) > 0 && json_dumpb(object, NULL, 0, 0) > OBJECT_BYTES_MAX)
        json_array_remove(lines, 0);
    return object;
}

static void broadcast(void)
{
    service.lines_sent_ms = now_monotonic_ms();
    service.lines_sent_at = ring_next(service.log);
    conn_broadcast(ROLE_API | ROLE_PROXY,
                   json_pack("{s:s, s:o}", "event", "service.state", "service", service_json()));
}

static void reply_service(struct request *request)
{
    request_reply(request, json_pack("{s:o}", "service", service_json()), NULL, 0);
}

static void arm_poll(void)
{
    if (service.state == STARTING)
        timer_set(&service.poll, POLL_STARTING_MS);
    else if (process_any())
        timer_set(&service.poll, POLL_MS);
    else
        timer_cancel(&service.poll);
}

/* `cause` is stolen; NULL: none. */
static void enter(enum state state, json_t *cause)
{
    service.state = state;
    service.since_ms = now_realtime_ms();
    json_decref(service.cause);
    service.cause = cause;
    if (state != READY) {
        service.port = 0;
        service.address = NULL;
    }
    if (state == STARTING)
        timer_set(&service.start_timeout, service.definition.start_timeout_ms);
    else
        timer_cancel(&service.start_timeout);
    if (state != STARTING)
        probe_cancel(&service.probe);
    service.other_port = 0;
    arm_poll();
    broadcast();
}

static void on_ended(struct process *process, void *userdata);

static int start(struct error *err)
{
    const struct definition *definition = &service.definition;
    struct process_spec spec = {
        .name = "service",
        .argv = definition->argv,
        .env = definition->env,
        .cwd = json_string_value(definition->cwd),
        .stream_fd = -1,
        .log = service.log,
        .on_exit = on_ended,
    };
    struct error ignored = ERROR_NONE;

    ports_read(&service.before, &ignored);
    ring_mark_restart(service.log);
    service.ready_at_ms = 0;
    service.kill_cause[0] = '\0';
    service.probe_after_ms = 0;
    int r = process_start(&spec, &service.process, err);
    if (r < 0)
        return r;
    service.pid = process_pid(service.process);
    service.process_id = process_id(service.process);
    enter(STARTING, NULL);
    return 0;
}

/* It ended or could not be started by itself: crashed, and perhaps another try. */
static void fail(json_t *cause)
{
    int64_t ready_for = service.ready_at_ms ? now_monotonic_ms() - service.ready_at_ms : 0;

    service.failures = service.ready_at_ms ? 1 : service.failures + 1;
    if (ready_for >= READY_LONG_MS || service.backoff_ms == 0)
        service.backoff_ms = BACKOFF_FIRST_MS;
    if (service.definition.auto_restart && service.failures < FAILURES_MAX) {
        timer_set(&service.backoff, service.backoff_ms);
        service.backoff_ms =
            service.backoff_ms * 2 < BACKOFF_MAX_MS ? service.backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    enter(CRASHED, cause);
}

static void on_backoff(struct timer *timer)
{
    struct error err = ERROR_NONE;

    (void)timer;
    service.restarts++;
    if (start(&err) < 0)
        fail(spawn_cause(&err));
}

/* The new definition takes effect; the request is answered. */
static void start_set(struct request *request, struct definition *definition)
{
    struct error err = ERROR_NONE;

    definition_clear(&service.definition);
    service.definition = *definition;
    *definition = (struct definition){0};
    service.failures = 0;
    service.backoff_ms = 0;
    service.restarts = 0;
    if (start(&err) < 0) {
        enter(CRASHED, spawn_cause(&err));
        request_fail(request, &err);
    } else {
        reply_service(request);
    }
}

static void finish_stop(void)
{
    struct request *pending = TAKE_PTR(service.pending);
    size_t n = service.n_stops;

    service.stopping = false;
    service.n_stops = 0;
    timer_cancel(&service.kill);
    timer_cancel(&service.backoff);
    if (!pending || n > 0)
        enter(STOPPED, NULL);
    for (size_t i = 0; i < n; i++)
        reply_service(service.stops[i]);
    if (pending)
        start_set(pending, &service.next);
}

static void on_ended(struct process *process, void *userdata)
{
    (void)userdata;
    /* What the leader left behind belongs to the service. */
    session_kill(service.pid);
    service.process = NULL;
    service.pid = 0;
    if (service.stopping)
        finish_stop();
    else
        fail(end_cause(process));
}

static void on_kill(struct timer *timer)
{
    (void)timer;
    process_signal(service.process, SIGKILL, true, NULL);
    session_kill(service.pid);
}

static void begin_stop(void)
{
    if (!service.process) {
        finish_stop();
        return;
    }
    if (service.stopping)
        return;
    service.stopping = true;
    timer_cancel(&service.start_timeout);
    process_signal(service.process, SIGTERM, true, NULL);
    timer_set(&service.kill, STOP_GRACE_MS);
}

static void on_start_timeout(struct timer *timer)
{
    char what[32] = "a port";

    (void)timer;
    if (service.definition.port)
        snprintf(what, sizeof(what), "port %lld", (long long)service.definition.port);
    snprintf(service.kill_cause, sizeof(service.kill_cause),
             "did not listen on %s and answer HTTP within %lld s", what,
             (long long)service.definition.start_timeout_ms / 1000);
    process_expire(service.process, service.definition.start_timeout_ms);
}

static void become_ready(uint16_t port, const char *address)
{
    service.port = port;
    service.address = address;
    service.ready_at_ms = now_monotonic_ms();
    service.failures = 0;
    enter(READY, NULL);
}

static void on_probed(struct probe *probe, const char *address)
{
    int64_t now = now_monotonic_ms();

    service.probe_after_ms = now + PROBE_PAUSE_MS;
    if (service.state != STARTING || service.stopping || !address)
        return;
    if (service.definition.port == 0 || service.definition.port == probe->port) {
        become_ready(probe->port, address);
    } else if (service.other_port != probe->port) {
        service.other_port = probe->port;
        service.other_since_ms = now;
    } else if (now - service.other_since_ms >= OTHER_PORT_MS) {
        become_ready(probe->port, address);
    }
}

/* The port to probe now, 0: none. New ports take turns, since a debugger's may be among them. */
static uint16_t candidate(void)
{
    uint16_t first = 0;

    if (service.definition.port && ports_listening(&service.ports, service.definition.port))
        return (uint16_t)service.definition.port;
    if (service.other_port && ports_listening(&service.ports, service.other_port))
        return service.other_port;
    for (size_t i = 0; i < service.ports.count; i++) {
        uint16_t port = service.ports.ports[i].port;
        if (ports_listening(&service.before, port))
            continue;
        if (port > service.probed)
            return port;
        first = first ? first : port;
    }
    return first;
}

static void follow_start(void)
{
    int64_t now = now_monotonic_ms();
    uint16_t port = candidate();

    if (port && !probe_running(&service.probe) && now >= service.probe_after_ms) {
        service.probed = port;
        probe_start(&service.probe, port, on_probed);
    }
    if (now - service.lines_sent_ms >= LINES_EVENT_MS &&
        ring_next(service.log) != service.lines_sent_at)
        broadcast();
}

static void on_poll(struct timer *timer)
{
    struct port_set now = {.count = 0};
    struct counters counters;
    struct error err = ERROR_NONE;

    (void)timer;
    arm_poll();
    counters_read(&counters);
    oom_observe(&counters);
    if (ports_read(&now, &err) < 0)
        return;
    if (!ports_equal(&now, &service.ports)) {
        service.ports = now;
        conn_broadcast(ROLE_API | ROLE_PROXY,
                       json_pack("{s:s, s:o}", "event", "ports", "ports", ports_to_json(&now)));
    }
    if (service.state == STARTING && !service.stopping)
        follow_start();
    else if (service.state == READY && !service.stopping && !ports_listening(&now, service.port))
        enter(STARTING, NULL);
}

void service_processes_changed(void)
{
    /* One more reading after the last one has ended tells that its ports are gone; not at once, so
     * that a short command never pays for two. */
    timer_set(&service.poll, POLL_STARTING_MS);
}

void service_init(void)
{
    service.log = ring_new(LOG_BYTES);
    service.since_ms = now_realtime_ms();
    service.probe = PROBE_IDLE;
    service.poll.handler = on_poll;
    service.start_timeout.handler = on_start_timeout;
    service.backoff.handler = on_backoff;
    service.kill.handler = on_kill;
}

struct set_params {
    json_t *argv, *env;
    const char *cwd;
    int64_t port, start_timeout_ms;
    bool auto_restart, path_form;
};

static void refuse_pending(void)
{
    struct error err = ERROR_NONE;
    struct request *pending = TAKE_PTR(service.pending);

    if (!pending)
        return;
    definition_clear(&service.next);
    error_set(&err, EBUSY, "a later request replaced this one");
    request_fail(pending, &err);
}

static int service_set(struct request *request, void *params, struct error *err)
{
    struct set_params *wanted = params;
    json_t *cwd = wanted->cwd ? json_string(wanted->cwd) : NULL;

    if (!service.log || (wanted->cwd && !cwd))
        return error_oom(err);
    refuse_pending();
    service.next = (struct definition){
        .argv = json_incref(wanted->argv),
        .env = json_incref(wanted->env),
        .cwd = cwd,
        .port = wanted->port,
        .start_timeout_ms = wanted->start_timeout_ms ? wanted->start_timeout_ms : START_TIMEOUT_MS,
        .auto_restart = !json_is_false(json_object_get(request->body, "auto_restart")),
        .path_form = wanted->path_form,
    };
    timer_cancel(&service.backoff);
    service.pending = request;
    begin_stop();
    /* Until the old one has gone, requests wait for the new one. */
    if (service.stopping && service.state != STARTING) {
        enter(STARTING, NULL);
        timer_cancel(&service.start_timeout);
    }
    return 0;
}

static int service_get(struct request *request, void *params, struct error *err)
{
    (void)params;
    (void)err;
    reply_service(request);
    return 0;
}

static int service_stop(struct request *request, void *params, struct error *err)
{
    (void)params;
    if (service.n_stops == STOPS_MAX)
        return error_set(err, EAGAIN, "more than %u requests wait for the stop", STOPS_MAX);
    refuse_pending();
    service.stops[service.n_stops++] = request;
    begin_stop();
    return 0;
}

struct attach_params {
    int64_t since;
    bool follow;
};

static int service_attach(struct request *request, void *params, struct error *err)
{
    struct attach_params *wanted = params;
    int fd = ipc_fds_take(&request->fds, 0);

    if (fd < 0)
        return error_set(err, EINVAL, "service.attach needs a stream's descriptor");
    int r = stream_attach_ring(service.log, wanted->since, wanted->follow, fd, err);
    if (r < 0)
        return r;
    request_reply(request, NULL, NULL, 0);
    return 0;
}

static int ports_list(struct request *request, void *params, struct error *err)
{
    struct port_set now;

    (void)params;
    int r = ports_read(&now, err);
    if (r < 0)
        return r;
    request_reply(request, json_pack("{s:o}", "ports", ports_to_json(&now)), NULL, 0);
    return 0;
}

static const struct field set_fields[] = {
    {"argv", FIELD_STRING_ARRAY, offsetof(struct set_params, argv), .min = 1, .required = true},
    {"env", FIELD_STRING_MAP, offsetof(struct set_params, env), .required = false},
    {"cwd", FIELD_STRING, offsetof(struct set_params, cwd), .min = 1},
    {"port", FIELD_INT, offsetof(struct set_params, port), .min = 1, .max = 65535},
    {"auto_restart", FIELD_BOOL, offsetof(struct set_params, auto_restart), .required = false},
    {"path_form", FIELD_BOOL, offsetof(struct set_params, path_form), .required = false},
    {"start_timeout_ms", FIELD_INT, offsetof(struct set_params, start_timeout_ms), .min = 100,
     .max = 3600000},
};
static const struct field attach_fields[] = {
    {"since", FIELD_INT, offsetof(struct attach_params, since), .min = -1, .max = INT64_MAX},
    {"follow", FIELD_BOOL, offsetof(struct attach_params, follow), .required = true},
};

const struct server_op service_ops[] = {
    {"service.set", ROLE_API, INIT_UP, set_fields, ELEMENTS(set_fields), 0, service_set},
    {"service.get", ROLE_API | ROLE_PROXY, INIT_ANY, NULL, 0, 0, service_get},
    {"service.stop", ROLE_API, INIT_ANY, NULL, 0, 0, service_stop},
    {"service.attach", ROLE_API, INIT_ANY, attach_fields, ELEMENTS(attach_fields), 1,
     service_attach},
    {"ports.list", ROLE_API | ROLE_PROXY, INIT_ANY, NULL, 0, 0, ports_list},
};
const size_t n_service_ops = ELEMENTS(service_ops);
