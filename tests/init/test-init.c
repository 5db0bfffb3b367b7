/* auracode-init as a whole: the real program as PID 1 of a sandbox (sandbox.h), driven over its
 * socket. Run as `test-init INIT`, as root. `/helper --serve PORT` is this program as dev server.
 */
#include "sandbox.h"

#include "base/cleanup.h"
#include "base/protocol.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define WAIT_MS 15000

static const char *init_path;
static struct sandbox sandbox;
static struct rpc api;

/* What a call was answered with. */
struct answer {
    bool done;
    json_t *result;
    struct ipc_fds fds;
    struct error err;
};

static json_t *last_service; /* of the last service.state event */
static json_int_t last_port; /* the first of the last ports event, 0: none */

static void on_event(struct rpc *rpc, const char *name, json_t *event)
{
    (void)rpc;
    if (strcmp(name, "ports") == 0) {
        json_t *first = json_array_get(json_object_get(event, "ports"), 0);
        last_port = json_integer_value(json_object_get(first, "port"));
    } else if (strcmp(name, "service.state") == 0) {
        json_decref(last_service);
        last_service = json_incref(json_object_get(event, "service"));
    }
}

static void on_reply(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct answer *answer = userdata;

    answer->done = true;
    answer->result = json_incref(result);
    if (!result)
        answer->err = *err;
    answer->fds = *fds;
    fds->count = 0;
}

static void dispatch_once(struct rpc *rpc)
{
    struct pollfd wait = {.fd = rpc->ipc.fd, .events = POLLIN};

    assert_true(poll(&wait, 1, WAIT_MS) > 0);
    assert_int_equal(rpc_dispatch(rpc), 0);
}

/* Any answer. Consumes params; fd -1: none. */
static struct answer ask(struct rpc *rpc, const char *op, json_t *params, int fd)
{
    struct answer answer = {.done = false};

    assert_int_equal(rpc_call(rpc, op, params, &fd, fd >= 0 ? 1 : 0, on_reply, &answer, NULL, NULL),
                     0);
    while (!answer.done)
        dispatch_once(rpc);
    return answer;
}

/* A good answer; descriptors are dropped. */
static json_t *good(const char *op, json_t *params, int fd)
{
    struct answer answer = ask(&api, op, params, fd);

    if (!answer.result)
        fail_msg("%s: %s: %s", op, answer.err.code, answer.err.message);
    ipc_fds_close(&answer.fds);
    return answer.result;
}

static struct error bad(struct rpc *rpc, const char *op, json_t *params)
{
    struct answer answer = ask(rpc, op, params, -1);

    assert_null(answer.result);
    return answer.err;
}

struct output {
    char *text; /* stdout and stderr, NUL-terminated */
    size_t length;
    int64_t gap, offset;
    unsigned int restarts;
    json_t *exit; /* process object */
};

#define cleanup_output __attribute__((cleanup(output_free)))
static void output_free(struct output *output)
{
    free(output->text);
    json_decref(output->exit);
}

static void take_control(struct output *output, const char *text, size_t length)
{
    cleanup_json json_t *message = json_loadb(text, length, 0, NULL);
    const char *type = json_string_value(json_object_get(message, "type"));

    assert_non_null(type);
    if (strcmp(type, "gap") == 0)
        output->gap += json_integer_value(json_object_get(message, "bytes"));
    else if (strcmp(type, "offset") == 0)
        output->offset = json_integer_value(json_object_get(message, "next"));
    else if (strcmp(type, "restart") == 0)
        output->restarts++;
    else if (strcmp(type, "exit") == 0)
        output->exit = json_incref(json_object_get(message, "process"));
}

/* One packet; false at the end of the stream. */
static bool take_packet(int fd, struct output *output)
{
    static char packet[STREAM_CHUNK_MAX + 2];
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
    ssize_t n = recv(fd, packet, sizeof(packet), 0);
    if (n <= 0)
        return false;
    assert_true((size_t)n <= STREAM_CHUNK_MAX + 1);
    assert_null(output->exit);
    if (packet[0] == STREAM_CONTROL) {
        take_control(output, packet + 1, (size_t)n - 1);
        return true;
    }
    output->text = realloc(output->text, output->length + (size_t)n);
    memcpy(output->text + output->length, packet + 1, (size_t)n - 1);
    output->length += (size_t)n - 1;
    output->text[output->length] = '\0';
    return true;
}

static void take_until(int fd, struct output *output, const char *text)
{
    while (!output->text || !strstr(output->text, text))
        assert_true(take_packet(fd, output));
}

static json_t *shell(const char *line)
{
    return json_pack("{s:[s,s,s]}", "argv", "/bin/bash", "-c", line);
}

/* Starts with an attached stream: our end. `params` is stolen. */
static int start_attached(json_t *params, int64_t *ret_id)
{
    int pair[2];

    assert_int_equal(ipc_pair(pair), 0);
    json_object_set_new(params, "attach", json_true());
    cleanup_json json_t *result = good("process.start", params, pair[1]);
    close(pair[1]);
    if (ret_id)
        *ret_id =
            json_integer_value(json_object_get(json_object_get(result, "process"), "process_id"));
    return pair[0];
}

static void run(json_t *params, struct output *output)
{
    int fd = start_attached(params, NULL);

    *output = (struct output){0};
    while (take_packet(fd, output))
        ;
    close(fd);
    assert_non_null(output->exit);
    if (!output->text)
        output->text = strdup("");
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void test_exec(void **state)
{
    cleanup_output struct output output;

    (void)state;
    run(shell("pwd; id -u; echo $FROM_BOOT $HOME; echo err >&2; exit 3"), &output);
    assert_non_null(strstr(output.text, "err\n"));
    if (!strstr(output.text, "/app\n1000\nyes /home/user\n"))
        fail_msg("%s", output.text);
    assert_int_equal(number(output.exit, "exit_code"), 3);
    assert_string_equal(string(output.exit, "cause"), "exited");
}

static void test_exec_fails(void **state)
{
    struct error err = bad(&api, "process.start", json_pack("{s:[s]}", "argv", "no-such-program"));

    (void)state;
    assert_string_equal(err.code, "exec_failed");
    assert_int_equal(err.err, ENOENT);
    assert_non_null(strstr(err.message, "no-such-program"));
    err = bad(&api, "process.start", json_pack("{s:[s],s:s}", "argv", "true", "cwd", "/nowhere"));
    assert_non_null(strstr(err.message, "/nowhere"));
    err = bad(&api, "process.start", json_pack("{s:[s]}", "argv", "/etc/passwd"));
    assert_int_equal(err.err, EACCES);
}

static void test_confinement(void **state)
{
    cleanup_output struct output output;
    cleanup_output struct output root;
    static const char line[] = "ls /proc/self/fd | tr '\\n' ' '; grep -E "
                               "'^(Cap|NoNewPrivs|Seccomp:|SigBlk|SigIgn)' /proc/self/status; "
                               "cat /proc/self/oom_score_adj; ulimit -n; umask";
    static const char *const caps[] = {"CapInh", "CapPrm", "CapEff", "CapBnd",
                                       "CapAmb", "SigBlk", "SigIgn"};
    json_t *as_root = shell("id -u; grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status; kill -TERM 1");

    (void)state;
    run(shell(line), &output);
    /* 3 is what ls reads the folder with. */
    assert_memory_equal(output.text, "0 1 2 3 Sig", 11);
    for (size_t i = 0; i < ELEMENTS(caps); i++) {
        cleanup_free char *empty = str_format("%s:\t0000000000000000\n", caps[i]);
        if (!strstr(output.text, empty))
            fail_msg("no %s in %s", empty, output.text);
    }
    assert_non_null(strstr(output.text, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(output.text, "Seccomp:\t2\n"));
    assert_non_null(strstr(output.text, "\n500\n512\n0022\n"));
    json_object_set_new(as_root, "user", json_string("root"));
    run(as_root, &root);
    assert_memory_equal(root.text, "0\n", 2);
    assert_non_null(strstr(root.text, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(root.text, "CapBnd:\t0000000000000000\n"));
    /* Nobody inside may end the sandbox. */
    json_decref(good("ping", NULL, -1));
}

static void test_stdin(void **state)
{
    cleanup_output struct output output = {0};
    static char packet[10001];
    json_t *params = json_pack("{s:[s,s],s:b}", "argv", "wc", "-c", "stdin", 1);
    int fd = start_attached(params, NULL);

    (void)state;
    packet[0] = STREAM_STDIN;
    memset(packet + 1, 'x', sizeof(packet) - 1);
    for (int i = 0; i < 30; i++)
        assert_int_equal(send(fd, packet, sizeof(packet), 0), sizeof(packet));
    assert_int_equal(send(fd, packet, 1, 0), 1);
    while (take_packet(fd, &output))
        ;
    close(fd);
    assert_string_equal(output.text, "300000\n");
}

/* Much more than the log ring and the socket hold, to a reader that begins late. */
static void test_lossless(void **state)
{
    cleanup_output struct output output = {0};
    int64_t id;
    int fd = start_attached(shell("exec seq 1 600000"), &id);
    size_t used = 0;

    (void)state;
    cleanup_json json_t *process = good("process.get", json_pack("{s:I}", "process_id", id), -1);
    assert_string_equal(string(json_object_get(process, "process"), "state"), "running");
    while (take_packet(fd, &output))
        ;
    close(fd);
    assert_int_equal(output.gap, 0);
    for (int i = 1; i <= 600000; i++) {
        char expected[16];
        int n = snprintf(expected, sizeof(expected), "%d\n", i);
        if (memcmp(output.text + used, expected, (size_t)n) != 0)
            fail_msg("line %d is not there", i);
        used += (size_t)n;
    }
    assert_int_equal(output.length, used);
}

/* Only the stream of the start holds the process: another that does not read is told what it has
 * missed, and where the rest belongs. */
static void test_gap(void **state)
{
    cleanup_output struct output output = {0};
    cleanup_output struct output slow = {0};
    json_t *params = shell("read; exec seq 1 600000");
    int64_t id;
    int pair[2];

    (void)state;
    json_object_set_new(params, "stdin", json_true());
    int fd = start_attached(params, &id);
    assert_int_equal(ipc_pair(pair), 0);
    json_decref(good("process.attach",
                     json_pack("{s:I,s:i,s:b}", "process_id", id, "since", 0, "follow", 1),
                     pair[1]));
    close(pair[1]);
    assert_int_equal(send(fd, "\0\n", 2, 0), 2);
    while (take_packet(fd, &output))
        ;
    close(fd);
    while (take_packet(pair[0], &slow))
        ;
    close(pair[0]);
    assert_int_equal(output.gap, 0);
    assert_true(slow.gap > 0);
    assert_int_equal(slow.offset + slow.gap + (int64_t)slow.length, output.length);
    size_t tail = 100000; /* surely behind the hole */
    assert_memory_equal(slow.text + slow.length - tail, output.text + output.length - tail, tail);
    assert_non_null(slow.exit);
}

static void test_terminal(void **state)
{
    cleanup_output struct output output = {0};
    static const char hello[] = "\0hello\n", end[] = "\0\4";
    static const char resize[] = "\3{\"type\":\"resize\",\"rows\":50,\"cols\":132}";
    json_t *params = shell("trap 'echo changed' WINCH; stty size; echo tty=$(tty); "
                           "while read l; do echo got $l; stty size; done");
    json_object_set_new(params, "tty", json_true());
    json_object_set_new(params, "rows", json_integer(30));
    json_object_set_new(params, "cols", json_integer(90));
    int fd = start_attached(params, NULL);

    (void)state;
    take_until(fd, &output, "tty=/dev/pts/");
    assert_memory_equal(output.text, "30 90\r\n", 7);
    assert_true(send(fd, resize, sizeof(resize) - 1, 0) > 0);
    assert_true(send(fd, hello, sizeof(hello) - 1, 0) > 0);
    take_until(fd, &output, "got hello\r\n50 132");
    assert_non_null(strstr(output.text, "changed"));
    /* The echo comes before anything that answers it. */
    assert_true(strstr(output.text, "hello") < strstr(output.text, "got hello"));
    assert_true(send(fd, end, sizeof(end) - 1, 0) > 0);
    while (take_packet(fd, &output))
        ;
    close(fd);
    assert_int_equal(number(output.exit, "exit_code"), 0);
}

/* The leader, a child of its group and one in a group of its own: all hold the log's pipe. */
static void test_timeout(void **state)
{
    cleanup_output struct output output;
    cleanup_output struct output left;
    json_t *params = shell("set -m; sleep 1001 & set +m; sleep 1002 & sleep 1003");

    (void)state;
    json_object_set_new(params, "timeout_ms", json_integer(200));
    run(params, &output);
    assert_string_equal(string(output.exit, "cause"), "timeout");
    assert_string_equal(string(output.exit, "signal"), "SIGKILL");
    run(shell("for i in $(seq 100); do pgrep -f 'sleep 100[123]$' >/dev/null || exit 0; done; "
              "pgrep -fa 'sleep 100[123]$'"),
        &left);
    assert_string_equal(left.text, "");
}

static void test_background(void **state)
{
    cleanup_output struct output output;
    json_t *ended;

    (void)state;
    run(shell("sleep 30 & echo started"), &output);
    assert_string_equal(output.text, "started\n");
    assert_true(number(output.exit, "duration_ms") < 5000);
    ended = good("process.get",
                 json_pack("{s:O}", "process_id", json_object_get(output.exit, "process_id")), -1);
    assert_string_equal(string(json_object_get(ended, "process"), "state"), "exited");
    json_decref(ended);
}

static void test_signal(void **state)
{
    cleanup_output struct output output = {0};
    int64_t id;
    int fd = start_attached(shell("echo up; exec sleep 1000"), &id);

    (void)state;
    take_until(fd, &output, "up");
    struct error err =
        bad(&api, "process.signal", json_pack("{s:I,s:s}", "process_id", id, "signal", "SIGNOT"));
    assert_int_equal(err.err, EINVAL);
    json_decref(
        good("process.signal", json_pack("{s:I,s:s}", "process_id", id, "signal", "SIGINT"), -1));
    while (take_packet(fd, &output))
        ;
    close(fd);
    assert_string_equal(string(output.exit, "signal"), "SIGINT");
    assert_string_equal(string(output.exit, "cause"), "request");
}

static void test_discard(void **state)
{
    cleanup_output struct output output;
    json_t *params = shell("echo once");

    (void)state;
    json_object_set_new(params, "discard", json_true());
    run(params, &output);
    struct error err =
        bad(&api, "process.get",
            json_pack("{s:O}", "process_id", json_object_get(output.exit, "process_id")));
    assert_string_equal(err.code, "process_not_found");
}

static void wait_service(const char *wanted)
{
    while (strcmp(string(last_service, "state"), wanted) != 0)
        dispatch_once(&api);
}

static void test_service(void **state)
{
    cleanup_json json_t *set = NULL, *ports = NULL, *stopped = NULL;

    (void)state;
    set = good("service.set",
               json_pack("{s:[s,s,s],s:i}", "argv", "/bin/bash", "-c",
                         "echo booting; /helper --serve 5173; exit 9", "port", 5173),
               -1);
    assert_string_equal(string(json_object_get(set, "service"), "state"), "starting");
    wait_service("ready");
    assert_int_equal(number(last_service, "port"), 5173);
    assert_string_equal(string(last_service, "address"), "127.0.0.1");
    ports = good("ports.list", NULL, -1);
    assert_int_equal(number(json_array_get(json_object_get(ports, "ports"), 0), "port"), 5173);
    /* The server dies: crashed with the cause, then ready again by itself. */
    cleanup_output struct output killed;
    run(shell("pkill -KILL -x helper"), &killed);
    wait_service("crashed");
    assert_non_null(strstr(string(last_service, "cause_text"), "exited with code 9"));
    assert_true(json_array_size(json_object_get(last_service, "last_lines")) > 0);
    wait_service("ready");
    assert_int_equal(number(last_service, "restarts"), 1);
    stopped = good("service.stop", NULL, -1);
    assert_string_equal(string(json_object_get(stopped, "service"), "state"), "stopped");
    cleanup_output struct output log = {0};
    int pair[2];
    assert_int_equal(ipc_pair(pair), 0);
    json_decref(good("service.attach", json_pack("{s:i,s:b}", "since", 0, "follow", 0), pair[1]));
    close(pair[1]);
    while (take_packet(pair[0], &log))
        ;
    close(pair[0]);
    assert_true(log.restarts >= 1);
    assert_non_null(strstr(strstr(log.text, "booting") + 1, "booting"));
}

/* What a command left running is watched, too. */
static void test_ports_event(void **state)
{
    cleanup_output struct output output;

    (void)state;
    run(shell("(sleep 0.2; exec /helper --serve 5190) >/dev/null 2>&1 & echo left"), &output);
    assert_string_equal(output.text, "left\n");
    while (last_port != 5190)
        dispatch_once(&api);
    output_free(&output);
    run(shell("pkill -KILL -x helper"), &output);
    while (last_port != 0)
        dispatch_once(&api);
}

static void write_file(const char *path, const char *text)
{
    struct answer answer = ask(&api, "file.write", json_pack("{s:s}", "path", path), -1);

    if (!answer.result)
        fail_msg("file.write: %s", answer.err.message);
    cleanup_close int fd = ipc_fds_take(&answer.fds, 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    json_decref(good("file.commit",
                     json_pack("{s:O}", "handle", json_object_get(answer.result, "handle")), -1));
    json_decref(answer.result);
}

static void test_files(void **state)
{
    cleanup_output struct output output;
    char text[32] = "";

    (void)state;
    write_file("a/b/c.txt", "first");
    struct answer answer = ask(&api, "file.read", json_pack("{s:s}", "path", "/app/a/b/c.txt"), -1);
    assert_non_null(answer.result);
    cleanup_close int fd = ipc_fds_take(&answer.fds, 0);
    write_file("a/b/c.txt", "second");
    /* The old file is whole for whoever has it open. */
    assert_int_equal(read(fd, text, sizeof(text)), 5);
    assert_string_equal(text, "first");
    json_decref(answer.result);
    run(shell("cat a/b/c.txt; stat -c ' %a %u' a/b/c.txt; ls -A a/b; mkfifo pipe; "
              "ln -s /etc/passwd out; ln -s ../../../etc up; ln -s a/b/c.txt in; "
              "touch $'bad\\xffname'"),
        &output);
    assert_string_equal(output.text, "second 644 1000\nc.txt\n");
}

static void test_files_refused(void **state)
{
    static const struct {
        const char *path;
        int err;
        const char *code;
    } cases[] = {
        {"out", EXDEV, "path_outside_project"},
        {"up/passwd", EXDEV, "path_outside_project"},
        {"/etc/passwd", EXDEV, "path_outside_project"},
        {"../etc/passwd", EXDEV, "path_outside_project"},
        {"pipe", EINVAL, "not_regular"},
        {"a", EISDIR, "is_a_directory"},
        {"nothing", ENOENT, "file_not_found"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct error err = bad(&api, "file.read", json_pack("{s:s}", "path", cases[i].path));
        if (err.err != cases[i].err || strcmp(err.code, cases[i].code) != 0)
            fail_msg("%s: %d %s", cases[i].path, err.err, err.code);
    }
}

static void test_file_list(void **state)
{
    cleanup_json json_t *page = NULL;
    json_t *entries, *entry;
    size_t i;
    char last[256] = "";
    bool raw = false;

    (void)state;
    page = good("file.list", json_pack("{s:s}", "path", "."), -1);
    entries = json_object_get(page, "entries");
    assert_int_equal(json_array_size(entries), 6);
    json_array_foreach(entries, i, entry)
    {
        assert_true(strcmp(last, string(entry, "name")) < 0);
        snprintf(last, sizeof(last), "%s", string(entry, "name"));
        raw = raw || *string(entry, "raw");
    }
    assert_true(raw);
    json_decref(page);
    page = good("file.list", json_pack("{s:s,s:s,s:i}", "path", ".", "after", "a", "limit", 1), -1);
    assert_true(json_is_true(json_object_get(page, "more")));
    assert_int_equal(json_array_size(json_object_get(page, "entries")), 1);
    json_decref(good("file.remove", json_pack("{s:s,s:b}", "path", "a", "recursive", 1), -1));
    assert_int_equal(bad(&api, "file.stat", json_pack("{s:s}", "path", "a")).err, ENOENT);
}

/* What is not committed leaves nothing, whether it is aborted or its connection ends. */
static void test_file_abort(void **state)
{
    cleanup_output struct output output;
    struct rpc other;

    (void)state;
    struct answer answer = ask(&api, "file.write", json_pack("{s:s}", "path", "x/never"), -1);
    assert_non_null(answer.result);
    ipc_fds_close(&answer.fds);
    json_decref(good("file.abort",
                     json_pack("{s:O}", "handle", json_object_get(answer.result, "handle")), -1));
    json_decref(answer.result);
    sandbox_connect(&sandbox, "api", &other);
    answer = ask(&other, "file.write", json_pack("{s:s}", "path", "x/never"), -1);
    assert_non_null(answer.result);
    ipc_fds_close(&answer.fds);
    json_decref(answer.result);
    rpc_close(&other);
    do {
        run(shell("ls -A x | wc -l"), &output);
        if (strcmp(output.text, "0\n") == 0)
            break;
        output_free(&output);
    } while (true);
}

static void test_roles(void **state)
{
    struct rpc none, proxy;

    (void)state;
    sandbox_connect(&sandbox, "", &none);
    assert_string_equal(bad(&none, "ping", NULL).code, "refused");
    rpc_close(&none);
    sandbox_connect(&sandbox, "proxy", &proxy);
    assert_string_equal(bad(&proxy, "process.list", NULL).code, "refused");
    assert_string_equal(bad(&proxy, "hello", json_pack("{s:s}", "role", "api")).code, "refused");
    assert_string_equal(bad(&proxy, "file.read", json_pack("{s:s}", "path", "x")).code, "refused");
    rpc_close(&proxy);
    assert_string_equal(bad(&api, "shutdown", json_pack("{s:i}", "grace_ms", 0)).code, "refused");
    assert_string_equal(bad(&api, "nonsense", NULL).code, "unknown_operation");
    assert_int_equal(bad(&api, "process.start", json_pack("{s:s}", "argv", "ls")).err, EINVAL);
    assert_int_equal(bad(&api, "ping", json_pack("{s:i}", "more", 1)).err, EINVAL);
}

static void test_malformed(void **state)
{
    static const char *const packets[] = {"nonsense", "{}", "[1]",
                                          "{\"id\":\"1\",\"op\":\"ping\"}"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(packets); i++) {
        struct rpc rpc;
        char byte;
        sandbox_connect(&sandbox, "api", &rpc);
        struct pollfd wait = {.fd = rpc.ipc.fd, .events = POLLIN};
        assert_true(send(rpc.ipc.fd, packets[i], strlen(packets[i]), 0) > 0);
        assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
        assert_true(recv(rpc.ipc.fd, &byte, 1, 0) <= 0);
        rpc_close(&rpc);
    }
    json_decref(good("ping", NULL, -1));
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Start, attach, output, exit. The bound is the for the whole way through the API. */
static void test_exec_time(void **state)
{
    int64_t took[200];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(took); i++) {
        cleanup_output struct output output;
        int64_t begin = now_us();
        run(json_pack("{s:[s],s:b}", "argv", "/bin/true", "discard", 1), &output);
        took[i] = now_us() - begin;
    }
    qsort(took, ELEMENTS(took), sizeof(took[0]), compare);
    print_message("exec round trip: p50 %lld us, p95 %lld us\n",
                  (long long)took[ELEMENTS(took) / 2], (long long)took[ELEMENTS(took) * 95 / 100]);
    assert_true(took[ELEMENTS(took) / 2] < 5000);
}

/* The last: who ignores SIGTERM gets SIGKILL after the grace, then the init ends. */
static void test_shutdown(void **state)
{
    struct rpc supervisor;
    cleanup_output struct output output = {0};
    int fd = start_attached(shell("trap '' TERM; echo up; while :; do :; done"), NULL);
    int64_t begin = now_monotonic_ms();

    (void)state;
    take_until(fd, &output, "up");
    sandbox_connect(&sandbox, "supervisor", &supervisor);
    struct answer answer = ask(&supervisor, "shutdown", json_pack("{s:i}", "grace_ms", 300), -1);
    assert_non_null(answer.result);
    json_decref(answer.result);
    assert_int_equal(sandbox_wait(&sandbox), 0);
    assert_true(now_monotonic_ms() - begin >= 300);
    rpc_close(&supervisor);
    close(fd);
}

/* What the service manager's host-side kill looks like from inside: a signal from no process. */
static void test_terminated(void **state)
{
    struct sandbox other;
    struct rpc rpc;

    (void)state;
    sandbox_start(&other, init_path);
    sandbox_connect(&other, "api", &rpc);
    json_t *params = json_pack("{s:[s,s]}", "argv", "sleep", "1000");
    struct answer answer = ask(&rpc, "process.start", params, -1);
    assert_non_null(answer.result);
    json_decref(answer.result);
    sandbox_signal(&other, SIGTERM);
    assert_int_equal(sandbox_wait(&other), 0);
    rpc_close(&rpc);
    sandbox_stop(&other);
}

static int setup(void **state)
{
    (void)state;
    sandbox_start(&sandbox, init_path);
    sandbox_connect(&sandbox, "api", &api);
    api.on_event = on_event;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rpc_close(&api);
    sandbox_stop(&sandbox);
    json_decref(last_service);
    return 0;
}

/* Answers every connection with one page. */
static int serve(const char *port)
{
    static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0)
        return 1;
    puts("listening");
    fflush(stdout);
    for (;;) {
        char request[1024];
        int peer = accept(fd, NULL, NULL);
        if (peer < 0)
            return 1;
        if (recv(peer, request, sizeof(request), 0) > 0)
            send(peer, page, sizeof(page) - 1, MSG_NOSIGNAL);
        close(peer);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exec),          cmocka_unit_test(test_exec_fails),
        cmocka_unit_test(test_confinement),   cmocka_unit_test(test_stdin),
        cmocka_unit_test(test_lossless),      cmocka_unit_test(test_gap),
        cmocka_unit_test(test_terminal),      cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_background),    cmocka_unit_test(test_signal),
        cmocka_unit_test(test_discard),       cmocka_unit_test(test_service),
        cmocka_unit_test(test_ports_event),   cmocka_unit_test(test_files),
        cmocka_unit_test(test_files_refused), cmocka_unit_test(test_file_list),
        cmocka_unit_test(test_file_abort),    cmocka_unit_test(test_roles),
        cmocka_unit_test(test_malformed),     cmocka_unit_test(test_exec_time),
        cmocka_unit_test(test_terminated),    cmocka_unit_test(test_shutdown),
    };

    if (argc == 3 && strcmp(argv[1], "--serve") == 0)
        return serve(argv[2]);
    if (geteuid() != 0) {
        fprintf(stderr, "test-init: only root may make the sandbox\n");
        return 77;
    }
    init_path = argc > 1 ? argv[1] : "./auracode-init";
    return cmocka_run_group_tests(tests, setup, teardown);
}
