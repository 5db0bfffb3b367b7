/* What the init makes of a client's paths, of the kernel's socket table and of a server's answer.
 */
#include "base/cleanup.h"
#include "init/paths.h"
#include "init/ports.h"
#include "init/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void paths_are_normalised(void **state)
{
    static const struct {
        const char *text, *full, *rest;
    } cases[] = {
        {"a", "/app/a", "a"},
        {"", "/app", "."},
        {".", "/app", "."},
        {"a//b/./c/", "/app/a/b/c", "a/b/c"},
        {"a/../b", "/app/b", "b"},
        {"...", "/app/...", "..."},
        {"/tmp", "/tmp", "."},
        {"/home/user/.npmrc", "/home/user/.npmrc", ".npmrc"},
        {"/app/x/../../tmp/y", "/tmp/y", "y"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct path path;
        assert_int_equal(path_parse(cases[i].text, &path, NULL), 0);
        assert_string_equal(path.full, cases[i].full);
        assert_string_equal(path_rest(&path), cases[i].rest);
    }
}

static void paths_outside_are_refused(void **state)
{
    static const char *const bad[] = {
        "..", "/", "/etc/passwd", "../etc", "/appx", "/home", "/home/user2", "/../..", "a/../../b",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct path path;
        struct error err = ERROR_NONE;
        assert_int_equal(path_parse(bad[i], &path, &err), -EXDEV);
        assert_string_equal(err.code, "path_outside_project");
        assert_non_null(strstr(err.message, bad[i]));
    }
}

static void long_paths_are_refused(void **state)
{
    char text[PATH_MAX];
    struct path path;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[PATH_MAX - 1] = '\0';
    assert_int_equal(path_parse(text, &path, NULL), -ENAMETOOLONG);
    text[PATH_MAX - 6] = '\0';
    assert_int_equal(path_parse(text, &path, NULL), 0);
    assert_int_equal(strlen(path.full), PATH_MAX - 1);
}

static void names_are_shown_as_utf8(void **state)
{
    static const char *const cases[][3] = {
        {"plain", "plain", "cGxhaW4="},
        {"b\xff", "b\xef\xbf\xbd", "Yv8="},
        {"\xc3\xbc\xc3", "\xc3\xbc\xef\xbf\xbd", "w7zD"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "7aCA"},
        {"", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        cleanup_free char *shown = path_shown_name(cases[i][0]);
        cleanup_free char *encoded = path_base64(cases[i][0]);
        assert_string_equal(shown, cases[i][1]);
        assert_string_equal(encoded, cases[i][2]);
    }
}

struct dump {
    struct {
        struct nlmsghdr header;
        struct inet_diag_msg body;
    } sockets[3];
    struct nlmsghdr done;
};

static struct dump make_dump(void)
{
    static const uint16_t ports[] = {5173, 80, 5173};
    struct dump dump = {
        .done = {.nlmsg_len = sizeof(struct nlmsghdr), .nlmsg_type = NLMSG_DONE},
    };

    for (size_t i = 0; i < ELEMENTS(ports); i++) {
        dump.sockets[i].header.nlmsg_len = sizeof(dump.sockets[i]);
        dump.sockets[i].header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
        dump.sockets[i].body.idiag_family = i == 2 ? AF_INET6 : AF_INET;
        dump.sockets[i].body.idiag_state = TCP_LISTEN;
        dump.sockets[i].body.id.idiag_sport = htons(ports[i]);
    }
    dump.sockets[0].body.id.idiag_src[0] = htonl(INADDR_LOOPBACK);
    return dump;
}

static void a_socket_table_is_read(void **state)
{
    struct dump dump = make_dump();
    struct port_set set = {.count = 0};

    (void)state;
    assert_int_equal(ports_parse(&dump, sizeof(dump), &set), 1);
    assert_int_equal(ports_parse(&dump, sizeof(dump), &set), 1);
    assert_int_equal(set.count, 6);
    ports_sort(&set);
    assert_int_equal(set.count, 3);
    assert_true(ports_listening(&set, 80));
    assert_false(ports_listening(&set, 81));
    cleanup_json json_t *value = ports_to_json(&set);
    cleanup_free char *text = json_dumps(value, JSON_COMPACT);
    assert_string_equal(text, "[{\"port\":80,\"addresses\":[\"0.0.0.0\"]},"
                              "{\"port\":5173,\"addresses\":[\"127.0.0.1\",\"::\"]}]");
}

static void a_cut_or_failed_table_is_noticed(void **state)
{
    struct dump dump = make_dump();
    struct port_set set = {.count = 0};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr body;
    } failure = {.header = {.nlmsg_len = sizeof(failure), .nlmsg_type = NLMSG_ERROR},
                 .body = {.error = -EPERM}};

    (void)state;
    assert_int_equal(ports_parse(&dump, sizeof(dump.sockets[0]) + 20, &set), 0);
    assert_int_equal(set.count, 1);
    assert_int_equal(ports_parse(&failure, sizeof(failure), &set), -EPERM);
    dump.sockets[0].body.idiag_state = TCP_ESTABLISHED;
    assert_int_equal(ports_parse(&dump, sizeof(dump.sockets[0]), &set), 0);
    assert_int_equal(set.count, 1);
}

static void a_listening_socket_is_seen(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    struct port_set set;
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(ports_read(&set, NULL), 0);
    assert_false(ports_listening(&set, ntohs(address.sin_port)));
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(ports_read(&set, NULL), 0);
    assert_true(ports_listening(&set, ntohs(address.sin_port)));
}

static void only_http_counts_as_an_answer(void **state)
{
    (void)state;
    assert_int_equal(probe_judge("HTTP/1.1", 8), 1);
    assert_int_equal(probe_judge("HTTP/1.", 7), 1);
    assert_int_equal(probe_judge("HTTP", 4), 0);
    assert_int_equal(probe_judge("", 0), 0);
    assert_int_equal(probe_judge("HTTP/2 2", 8), -EPROTO);
    assert_int_equal(probe_judge("SSH-2.0-", 8), -EPROTO);
    assert_int_equal(probe_judge("hTTP", 4), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_normalised),
        cmocka_unit_test(paths_outside_are_refused),
        cmocka_unit_test(long_paths_are_refused),
        cmocka_unit_test(names_are_shown_as_utf8),
        cmocka_unit_test(a_socket_table_is_read),
        cmocka_unit_test(a_cut_or_failed_table_is_noticed),
        cmocka_unit_test(a_listening_socket_is_seen),
        cmocka_unit_test(only_http_counts_as_an_answer),
    };

    return cmocka_run_group_tests_name("init paths", tests, NULL, NULL);
}
