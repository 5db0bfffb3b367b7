/* Strict parsers, schema-checked fields, ids and the configuration table. */
#include "base/cleanup.h"
#include "base/config.h"
#include "base/fields.h"
#include "base/id.h"
#include "base/networks.h"
#include "base/spec.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void numbers_are_strict(void **state)
{
    static const char *const bad[] = {
        "", " 1", "+1", "-1", "1 ", "01x", "0x10", "1e3", "99999999999999999999"};
    uint64_t value = 7;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_true(parse_u64(bad[i], 0, UINT64_MAX, &value) < 0);
    assert_int_equal(value, 7);
    assert_int_equal(parse_u64("1000", 0, 999, &value), -ERANGE);
    assert_int_equal(parse_u64("18446744073709551615", 0, UINT64_MAX, &value), 0);
    assert_true(value == UINT64_MAX);
}

static void sizes_know_their_units(void **state)
{
    uint64_t value;

    (void)state;
    assert_int_equal(parse_size("1GiB", &value), 0);
    assert_int_equal(value, 1u << 30);
    assert_int_equal(parse_size("512M", &value), 0);
    assert_int_equal(value, 512u << 20);
    assert_int_equal(parse_size("1GB", &value), -EINVAL);
    assert_int_equal(parse_size("9999999999T", &value), -ERANGE);
}

static void lists_are_trimmed(void **state)
{
    static const char list[] = " /a.pem ,, /b c.pem\t,";
    cleanup_free char *first = str_list_item(list, 0), *second = str_list_item(list, 1);

    (void)state;
    assert_int_equal(str_list_count(list), 2);
    assert_int_equal(str_list_count(" , "), 0);
    assert_string_equal(first, "/a.pem");
    assert_string_equal(second, "/b c.pem");
    assert_null(str_list_item(list, 2));
}

static void ids_are_labels(void **state)
{
    char a[SANDBOX_ID_LENGTH + 1], b[SANDBOX_ID_LENGTH + 1];

    (void)state;
    assert_int_equal(sandbox_id_new(a), 0);
    assert_int_equal(sandbox_id_new(b), 0);
    assert_true(sandbox_id_valid(a));
    assert_string_not_equal(a, b);
    assert_false(sandbox_id_valid("../../etcpas"));
    assert_false(sandbox_id_valid("abcdefghijk"));
    assert_false(sandbox_id_valid("abcdefghijkl2"));
    assert_false(sandbox_id_valid("ABCDEFGHIJKL"));
}

struct sample {
    const char *name;
    int64_t port;
    bool tty;
};

static const struct field sample_fields[] = {
    {"name", FIELD_STRING, offsetof(struct sample, name), 1, 8, true, NULL},
    {"port", FIELD_INT, offsetof(struct sample, port), 1, 65535, false, NULL},
    {"tty", FIELD_BOOL, offsetof(struct sample, tty), 0, 0, false, NULL},
};

static int decode(const char *text, struct sample *sample, struct error *err)
{
    static json_t *kept; /* strings of the sample point into it */

    json_decref(kept);
    kept = json_loads(text, JSON_ALLOW_NUL, NULL);
    return fields_decode(kept, sample_fields, ELEMENTS(sample_fields), "", sample, err);
}

static void fields_name_the_offender(void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"{}", "name"},
        {"{\"name\": 3}", "name"},
        {"{\"name\": \"\"}", "name"},
        {"{\"name\": \"123456789\"}", "name"},
        {"{\"name\": \"a\\u0000b\"}", "name"},
        {"{\"name\": \"x\", \"port\": 0}", "port"},
        {"{\"name\": \"x\", \"port\": 65536}", "port"},
        {"{\"name\": \"x\", \"port\": \"80\"}", "port"},
        {"{\"name\": \"x\", \"port\": 80.5}", "port"},
        {"{\"name\": \"x\", \"tty\": 1}", "tty"},
        {"{\"name\": \"x\", \"extra\": 1}", "extra"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct sample sample = {0};
        struct error err = ERROR_NONE;
        assert_int_equal(decode(cases[i].text, &sample, &err), -EINVAL);
        assert_string_equal(err.field, cases[i].field);
    }
}

static void fields_fill_the_struct(void **state)
{
    struct sample sample = {.port = 5};

    (void)state;
    assert_int_equal(decode("{\"name\":\"x\",\"port\":null,\"tty\":true}", &sample, NULL), 0);
    assert_string_equal(sample.name, "x");
    assert_int_equal(sample.port, 5);
    assert_true(sample.tty);
}

static void limits_have_bounds(void **state)
{
    struct limits limits = {.memory = 1 << 30, .cpu = 1, .pids = 512, .disk = 1 << 30};
    cleanup_json json_t *bad = json_pack("{s:f}", "cpu", 0.001);
    struct sandbox_spec spec = {.template = "node", .limits = bad};
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(sandbox_spec_check(&spec, &limits, &err), -EINVAL);
    assert_string_equal(err.field, "limits.cpu");
    spec.limits = NULL;
    spec.template = "../node";
    assert_int_equal(sandbox_spec_check(&spec, &limits, &err), -EINVAL);
    assert_string_equal(err.field, "template");
}

static void limits_know_none_and_derived(void **state)
{
    struct limits limits = {.memory = 1 << 30, .cpu = 1, .cpu_weight = 100, .disk = 1 << 30};
    cleanup_json json_t *good = json_pack("{s:i, s:i}", "memory_high", 0, "tmp", 1 << 20);
    cleanup_json json_t *bad = json_pack("{s:i, s:i}", "swap", 1 << 20, "io_read_bps", 1);
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(limits_decode(good, &limits, &err), 0);
    struct limits resolved = limits_resolved(&limits);
    assert_int_equal(resolved.inodes, (1 << 30) / 16384);
    assert_int_equal(resolved.tmp, 1 << 20);
    assert_int_equal(resolved.shm, 1 << 28);
    assert_int_equal(limits_decode(bad, &limits, &err), -EINVAL);
    assert_string_equal(err.field, "limits.io_read_bps");
    assert_int_equal(limits.swap, 0);
    cleanup_json json_t *text = limits_to_json(&limits);
    assert_int_equal(json_object_size(text), LIMITS_FIELDS);
}

static void config_defaults_are_valid(void **state)
{
    struct config config;
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(config_init(&config, &err), 0);
    assert_int_equal(config_finish(&config, &err), 0);
    assert_string_equal(config.database_url, "sqlite:/var/lib/auracode/api/auracode.db");
    assert_string_equal(config.templates_dir, "/var/lib/auracode/templates");
    config_free(&config);
}

static void config_refuses_by_name(void **state)
{
    static const struct {
        const char *section, *key, *value;
    } cases[] = {
        {"api", "listen", "7070"},    {"api", "listen", "localhost:7070"},
        {"proxy", "threads", "many"}, {"proxy", "threads", "257"},
        {"sandbox", "memory", "1MB"}, {"sandbox", "egress", "all"},
        {"log", "level", "loud"},     {"sandbox", "nonsense", "1"},
    };
    struct config config;

    (void)state;
    assert_int_equal(config_init(&config, NULL), 0);
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct error err = ERROR_NONE;
        assert_int_equal(config_set(&config, cases[i].section, cases[i].key, cases[i].value, &err),
                         -EINVAL);
        assert_non_null(strstr(err.field, cases[i].key));
    }
    config_free(&config);
}

/* inih would read the rest of a long line as a line of its own. */
static void config_refuses_long_lines(void **state)
{
    char path[] = "/tmp/base-text-XXXXXX", text[400] = "[proxy]\ndomain = ";
    struct config config;
    struct error err = ERROR_NONE;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    memset(text + strlen(text), 'a', 250);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(config_init(&config, NULL), 0);
    assert_int_equal(config_load(&config, path, true, &err), -EINVAL);
    assert_non_null(strstr(err.message, "line 2 has"));
    unlink(path);
    config_free(&config);
}

static void config_hides_secrets_from_the_proxy(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(config_init(&config, NULL), 0);
    assert_int_equal(config_set(&config, "auth", "jwt_secret", "s3cret", NULL), 0);
    cleanup_json json_t *proxy = config_export(&config, CONFIG_FOR_PROXY);
    cleanup_json json_t *api = config_export(&config, CONFIG_FOR_API);
    assert_null(json_object_get(proxy, "auth.jwt_secret"));
    assert_null(json_object_get(proxy, "database.url"));
    assert_string_equal(json_string_value(json_object_get(api, "auth.jwt_secret")), "s3cret");
    config_free(&config);
}

static void test_keyed_number(void **state)
{
    static const char v1[] = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
    static const char v2[] = "low 0\nhigh 12\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n";

    (void)state;
    assert_int_equal(keyed_number(v1, "oom_kill"), 3);
    assert_int_equal(keyed_number(v1, "high"), -1);
    assert_int_equal(keyed_number(v2, "oom_kill"), 1);
    assert_int_equal(keyed_number(v2, "high"), 12);
    assert_int_equal(keyed_number(v2, "oom_group_kill"), 0);
    assert_int_equal(keyed_number(v2, "group_kill"), -1);
    assert_int_equal(keyed_number("201326592\n", NULL), 201326592);
    assert_int_equal(keyed_number("7", NULL), 7);
    assert_int_equal(keyed_number("max\n", NULL), -1);
    assert_int_equal(keyed_number("", NULL), -1);
    assert_int_equal(keyed_number("", "max"), -1);
    assert_int_equal(keyed_number("max \n", "max"), -1);
    assert_int_equal(keyed_number("max -1\n", "max"), -1);
    assert_int_equal(keyed_number("max 9223372036854775808\n", "max"), -1);
    assert_int_equal(keyed_number("max 123456789012345678901234567890\n", "max"), -1);
}

static void networks(void **state)
{
    static const char *const bad[] = {"localhost", "10.0.0.0/33", "10.0.0.0/",
                                      "::1/129",   "1.2.3.4/-1",  "10.0.0.0/8/8"};
    static const struct {
        const char *list, *address;
        bool held;
    } cases[] = {
        {"127.0.0.0/8, ::1", "127.9.9.9", true},
        {"127.0.0.0/8, ::1", "::1", true},
        {"127.0.0.0/8 ::1", "128.0.0.1", false},
        {"10.1.2.128/25", "10.1.2.129", true},
        {"10.1.2.128/25", "10.1.2.127", false},
        {"fd00::/8", "fdff::1", true},
        {"0.0.0.0/0", "9.9.9.9", true},
        {"0.0.0.0/0", "::1", false},
        {"", "127.0.0.1", false},
        {"127.0.0.1", "unknown", false},
    };
    struct networks list;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(networks_parse(bad[i], &list), -EINVAL);
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        assert_int_equal(networks_parse(cases[i].list, &list), 0);
        assert_int_equal(networks_hold(&list, cases[i].address), cases[i].held);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),
        cmocka_unit_test(test_keyed_number),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(sizes_know_their_units),
        cmocka_unit_test(lists_are_trimmed),
        cmocka_unit_test(ids_are_labels),
        cmocka_unit_test(fields_name_the_offender),
        cmocka_unit_test(fields_fill_the_struct),
        cmocka_unit_test(limits_have_bounds),
        cmocka_unit_test(limits_know_none_and_derived),
        cmocka_unit_test(config_defaults_are_valid),
        cmocka_unit_test(config_refuses_by_name),
        cmocka_unit_test(config_refuses_long_lines),
        cmocka_unit_test(config_hides_secrets_from_the_proxy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
