/* events: what happened to sandboxes as far as the server keeps it, and with --follow what happens,
 * also over a restart of the server: it is asked again for what came behind the last event. */
#include "cli/cli.h"

#include "base/str.h"
#include "cli/text.h"
#include "cli/ws.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define RETRY_MS    300
#define RETRIES_MAX 100 /* one after the other without an event between */

struct reading {
    struct cli *cli;
    json_int_t last;
    bool caught_up, heard;
};

static void print_time(json_int_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm when;
    char text[32];

    localtime_r(&seconds, &when);
    strftime(text, sizeof(text), "%F %T", &when);
    printf("%s.%03d", text, (int)(ms % 1000));
}

static void print_ports(const json_t *ports)
{
    size_t i;
    json_t *port;

    json_array_foreach(ports, i, port)
        printf("%s%lld", i == 0 ? "" : " ", json_integer_value(json_object_get(port, "port")));
}

/* Where, if that is known, and the message's first line. */
static void print_browser_error(const json_t *error)
{
    const char *message = member(error, "message"), *source = member(error, "source");
    const char *url = member(error, "url"), *place = source ? source : url ? url : "";
    json_int_t line = json_integer_value(json_object_get(error, "line"));
    cleanup_free char *first = message ? strndup(message, strcspn(message, "\n")) : NULL;
    cleanup_free char *shown = text_printable(first ? first : "");
    cleanup_free char *where = text_printable(place);

    printf("%s", shown ? shown : "");
    if (!where || !where[0])
        return;
    printf(" (%s", where);
    if (line > 0)
        printf(":%lld", line);
    putchar(')');
}

/* The one or two members that say most. */
static void print_data(const char *type, const json_t *data)
{
    const json_t *about = str_equal(type, "dev_server.state") ? json_object_get(data, "service")
                          : str_equal(type, "process.exit")   ? json_object_get(data, "process")
                                                              : data;
    const char *state = member(about, "state"), *cause = member(about, "cause_text");
    cleanup_free char *shown = text_printable(cause ? cause : "");

    if (str_equal(type, "ports"))
        print_ports(json_object_get(data, "ports"));
    else if (str_equal(type, "browser.error"))
        print_browser_error(data);
    else if (str_equal(type, "events.dropped"))
        printf("%lld", json_integer_value(json_object_get(data, "count")));
    else
        printf("%s%s%s", state ? state : "", state && cause ? ": " : "", shown ? shown : "");
}

static void print_event(const json_t *event)
{
    const char *type = member(event, "type"), *sandbox = member(event, "sandbox_id");
    cleanup_free char *shown = text_printable(type ? type : "");

    print_time(json_integer_value(json_object_get(event, "timestamp")));
    printf("  %-12s  %-16s  ", sandbox ? sandbox : "", shown ? shown : "");
    print_data(type, json_object_get(event, "data"));
    putchar('\n');
}

static void on_message(void *userdata, bool binary, const unsigned char *data, size_t length)
{
    struct reading *reading = userdata;
    cleanup_json json_t *event = binary ? NULL : json_loadb((const char *)data, length, 0, NULL);
    const char *type = member(event, "type");
    const json_t *id = json_object_get(event, "id");

    reading->heard = true;
    if (json_is_integer(id))
        reading->last = json_integer_value(id);
    if (str_equal(type, "replayed")) {
        reading->caught_up = true;
    } else if (str_equal(type, "gap") && !reading->cli->options.json) {
        cli_progress(reading->cli, "auracode: some events are no longer kept");
    } else if (event && reading->cli->options.json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (event) {
        print_event(event);
    }
}

/* 0: done; -ECONNRESET: the connection is lost. */
static int read_all(struct reading *reading, struct ws *ws)
{
    bool follow = reading->cli->options.follow;
    int r = 1;

    while (r > 0 && (follow || !reading->caught_up)) {
        struct pollfd fd = {.fd = ws_fd(ws),
                            .events = (short)(POLLIN | (ws_wants_write(ws) ? POLLOUT : 0))};
        if (poll(&fd, 1, -1) < 0 && errno != EINTR)
            return -errno;
        r = ws_dispatch(ws);
        if (fflush(stdout) != 0)
            return -EPIPE;
    }
    return r == 0 ? -ECONNRESET : r > 0 ? 0 : r;
}

static int read_once(struct reading *reading, const char *sandbox, struct error *err)
{
    cleanup_free char *since = str_format("%lld", (long long)reading->last);
    cleanup_free char *path =
        cli_query("/v1/events", "sandbox", sandbox, "since", since ? since : "0", NULL);
    cleanup_ws struct ws *ws = NULL;

    if (!path)
        return error_oom(err);
    int r = ws_open(&reading->cli->client, path, on_message, reading, &ws, err);
    if (r < 0)
        return r;
    r = read_all(reading, ws);
    return r < 0 ? error_sys(err, r, "reading events") : 0;
}

/* Whoever follows comes back; the first time the server must be there. */
static int follow(struct reading *reading, const char *sandbox, struct error *err)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    bool was_there = false;
    int tries = 0, r;

    for (;;) {
        reading->heard = false;
        *err = ERROR_NONE;
        r = read_once(reading, sandbox, err);
        was_there = was_there || reading->heard;
        tries = reading->heard ? 0 : tries + 1;
        if (r == 0 || r == -EPIPE || !reading->cli->options.follow || !was_there ||
            tries > RETRIES_MAX)
            return r;
        nanosleep(&pause, NULL);
    }
}

int cmd_events(struct cli *cli, char **args, int n_args)
{
    struct reading reading = {.cli = cli};
    struct error err = ERROR_NONE;
    cleanup_free char *path = NULL;
    uint64_t since = 0;
    int r = 0;

    if (cli->options.since && parse_u64(cli->options.since, 0, INT64_MAX, &since) < 0)
        r = error_set_field(&err, "--since", "expected the id of an event");
    if (r == 0 && n_args > 0)
        r = cli_sandbox_path(cli, args[0], "", &path, &err);
    reading.last = (json_int_t)since;
    if (r == 0)
        r = follow(&reading, path ? path + strlen("/v1/sandboxes/") : NULL, &err);
    return r < 0 ? cli_fail(cli, &err) : EXIT_OK;
}
