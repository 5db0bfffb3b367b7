/* Packets, the request table and calls, over a real socket pair; files and trees in a real folder.
 */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/rpc.h"
#include "base/server.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { ROLE_A = 1, ROLE_B = 2 };

struct echo_params {
    const char *text;
};

static const struct field echo_fields[] = {
    {"text", FIELD_STRING, offsetof(struct echo_params, text), 1, 60000, true, NULL},
};

static int op_echo(struct request *request, void *params, struct error *err)
{
    struct echo_params *echo = params;

    (void)err;
    request_reply(request, json_pack("{s:s}", "text", echo->text), NULL, 0);
    return 0;
}

static int op_hello(struct request *request, void *params, struct error *err)
{
    (void)params;
    (void)err;
    request_reply(request, NULL, NULL, 0);
    return 0;
}

static struct request *held;

static int op_hold(struct request *request, void *params, struct error *err)
{
    (void)params;
    (void)err;
    held = request;
    return 0;
}

static const struct server_op ops[] = {
    {"hello", ROLE_A, STATE_NEW, NULL, 0, 0, op_hello},
    {"echo", ROLE_A, STATE_READY, echo_fields, 1, 0, op_echo},
    {"hold", ROLE_A, STATE_READY, NULL, 0, 0, op_hold},
    {"never", ROLE_A, 0, NULL, 0, 0, op_hold},
    {"secret", ROLE_B, STATE_READY, NULL, 0, 0, op_hold},
};

struct pair {
    struct server_conn server;
    struct rpc client;
    char result[80];
    size_t answers;
};

static void ask(struct pair *pair, const char *op, json_t *params);

static void pair_open(struct pair *pair)
{
    int fds[2];

    *pair = (struct pair){.answers = 0};
    assert_int_equal(ipc_pair(fds), 0);
    server_conn_init(&pair->server, fds[0], ROLE_A, ops, ELEMENTS(ops), NULL, NULL);
    rpc_init(&pair->client, fds[1], NULL, NULL);
    ask(pair, "hello", NULL);
    pair->answers = 0;
}

static void on_reply(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct pair *pair = userdata;

    (void)fds;
    pair->answers++;
    snprintf(pair->result, sizeof(pair->result), "%.70s",
             result ? json_string_value(json_object_get(result, "text")) : err->code);
}

static void ask(struct pair *pair, const char *op, json_t *params)
{
    assert_int_equal(rpc_call(&pair->client, op, params, NULL, 0, on_reply, pair, NULL, NULL), 0);
    server_conn_dispatch(&pair->server);
    rpc_dispatch(&pair->client);
}

static void pair_close(struct pair *pair)
{
    rpc_close(&pair->client);
    server_conn_close(&pair->server);
}

static void table_decides(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    ask(&pair, "echo", json_pack("{s:s}", "text", "hello"));
    assert_string_equal(pair.result, "hello");
    ask(&pair, "echo", json_pack("{s:i}", "text", 1));
    assert_string_equal(pair.result, "invalid_field");
    ask(&pair, "echo", json_pack("{s:s, s:i}", "text", "x", "more", 1));
    assert_string_equal(pair.result, "unknown_field");
    ask(&pair, "secret", NULL);
    assert_string_equal(pair.result, "refused");
    ask(&pair, "nonsense", NULL);
    assert_string_equal(pair.result, "unknown_operation");
    assert_int_equal(pair.answers, 5);
    pair_close(&pair);
}

static void states_decide(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    ask(&pair, "hello", NULL);
    assert_string_equal(pair.result, "wrong_state");
    ask(&pair, "never", NULL);
    assert_string_equal(pair.result, "wrong_state");
    pair.server.greeted = false;
    ask(&pair, "echo", json_pack("{s:s}", "text", "x"));
    assert_string_equal(pair.result, "wrong_state");
    ask(&pair, "hello", NULL);
    ask(&pair, "echo", json_pack("{s:s}", "text", "x"));
    assert_string_equal(pair.result, "x");
    pair_close(&pair);
}

static void an_unanswered_id_ends_the_connection(void **state)
{
    static const char packet[] = "{\"id\":77,\"op\":\"hold\"}";
    struct pair pair;

    (void)state;
    pair_open(&pair);
    for (int i = 0; i < 2; i++)
        assert_true(send(pair.client.ipc.fd, packet, strlen(packet), 0) > 0);
    assert_int_equal(server_conn_dispatch(&pair.server), -EPROTO);
    pair_close(&pair);
    request_reply(held, NULL, NULL, 0);
}

/* Not one byte more than the socket takes and one answer waits, however much is asked. */
static void a_peer_that_does_not_read_is_not_read(void **state)
{
    char packet[40200];
    struct pair pair;
    int sent = 0;

    (void)state;
    pair_open(&pair);
    fd_set_nonblock(pair.client.ipc.fd, true);
    for (int i = 0; i < 2000; i++) {
        int n = snprintf(packet, sizeof(packet),
                         "{\"id\":%d,\"op\":\"echo\",\"text\":\"%040000d\"}", 100 + i, i);
        sent += send(pair.client.ipc.fd, packet, (size_t)n, 0) > 0;
        assert_int_equal(server_conn_dispatch(&pair.server), 0);
        assert_true(pair.server.ipc.out_count <= 1);
    }
    assert_true(sent < 100);
    pair_close(&pair);
}

static void a_peer_that_lets_events_pile_up_is_given_up(void **state)
{
    struct pair pair;
    int r = 0;

    (void)state;
    pair_open(&pair);
    for (unsigned int i = 0; r == 0 && i < 100 * IPC_QUEUE_MAX; i++)
        r = server_conn_event(&pair.server, json_pack("{s:s}", "event", "tick"));
    assert_int_equal(r, -ENOBUFS);
    assert_true(server_conn_dispatch(&pair.server) < 0);
    pair_close(&pair);
}

static void garbage_ends_the_connection(void **state)
{
    static const char *const packets[] = {"x",
                                          "[]",
                                          "{}",
                                          "{\"id\":\"1\",\"op\":\"echo\"}",
                                          "{\"id\":1}",
                                          "{\"id\":1,\"id\":2,\"op\":\"echo\"}",
                                          "{\"op\":1,\"id\":1}"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(packets); i++) {
        struct pair pair;
        pair_open(&pair);
        assert_true(send(pair.client.ipc.fd, packets[i], strlen(packets[i]), 0) > 0);
        assert_int_equal(server_conn_dispatch(&pair.server), -EPROTO);
        pair_close(&pair);
    }
}

static void an_answer_may_outlive_its_connection(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    ask(&pair, "hold", NULL);
    assert_int_equal(pair.answers, 0);
    pair_close(&pair);
    assert_string_equal(pair.result, "disconnected");
    assert_null(held->conn);
    request_reply(held, NULL, NULL, 0);
}

static void a_slow_peer_gets_everything_in_order(void **state)
{
    struct pair pair;
    cleanup_free char *large = malloc(50001);

    (void)state;
    pair_open(&pair);
    memset(large, 'x', 50000);
    large[50000] = '\0';
    for (int i = 0; i < 40; i++)
        assert_int_equal(rpc_call(&pair.client, "echo", json_pack("{s:s}", "text", large), NULL, 0,
                                  on_reply, &pair, NULL, NULL),
                         0);
    assert_true(ipc_pending(&pair.client.ipc));
    for (int i = 0; i < 200 && pair.answers < 40; i++) {
        assert_int_equal(server_conn_dispatch(&pair.server), 0);
        assert_int_equal(rpc_dispatch(&pair.client), 0);
    }
    assert_int_equal(pair.answers, 40);
    assert_false(ipc_pending(&pair.client.ipc));
    pair_close(&pair);
}

static void too_large_is_refused_before_it_is_sent(void **state)
{
    struct pair pair;
    struct error err = ERROR_NONE;
    cleanup_free char *large = malloc(70001);

    (void)state;
    pair_open(&pair);
    memset(large, 'x', 70000);
    large[70000] = '\0';
    assert_int_equal(rpc_call(&pair.client, "echo", json_pack("{s:s}", "text", large), NULL, 0,
                              on_reply, &pair, NULL, &err),
                     -EMSGSIZE);
    pair_close(&pair);
}

static void trees_of_any_depth_are_removed(void **state)
{
    char path[] = "/tmp/auracode-unit.XXXXXX";
    struct error err = ERROR_NONE;
    struct stat status;

    (void)state;
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int depth = 0; depth < 900; depth++) { /* deeper than descriptors would last */
        assert_int_equal(mkdirat(fd, "d", 0755), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(symlinkat("/etc", fd, "link"), 0);
        close(fd);
        fd = next;
        assert_true(fd >= 0);
    }
    close(fd);
    assert_int_equal(remove_tree(AT_FDCWD, path, &err), 0);
    assert_int_equal(stat(path, &status), -1);
    assert_int_equal(stat("/etc", &status), 0);
    assert_int_equal(remove_tree(AT_FDCWD, path, &err), 0);
}

static void files_are_replaced_whole(void **state)
{
    char path[] = "/tmp/auracode-unit.XXXXXX";
    cleanup_json json_t *value = json_pack("{s:i}", "a", 1), *back = NULL;

    (void)state;
    assert_non_null(mkdtemp(path));
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(file_write_json(fd, "f.json", value, 0600, NULL), 0);
    assert_int_equal(file_write_json(fd, "f.json", value, 0600, NULL), 0);
    assert_int_equal(file_read_json(fd, "f.json", 100, &back, NULL), 0);
    assert_true(json_equal(value, back));
    assert_int_equal(file_read_json(fd, "f.json", 3, &back, NULL), -EFBIG);
    assert_int_equal(file_read_json(fd, ".", 100, &back, NULL), -EINVAL);
    assert_int_equal(remove_tree(AT_FDCWD, path, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_decides),
        cmocka_unit_test(states_decide),
        cmocka_unit_test(an_unanswered_id_ends_the_connection),
        cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
        cmocka_unit_test(a_peer_that_lets_events_pile_up_is_given_up),
        cmocka_unit_test(garbage_ends_the_connection),
        cmocka_unit_test(an_answer_may_outlive_its_connection),
        cmocka_unit_test(a_slow_peer_gets_everything_in_order),
        cmocka_unit_test(too_large_is_refused_before_it_is_sent),
        cmocka_unit_test(trees_of_any_depth_are_removed),
        cmocka_unit_test(files_are_replaced_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
