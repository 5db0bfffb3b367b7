/* Which command starts a project. */
#include "api/detect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool only(void *userdata, const char *name)
{
    return userdata && strcmp(userdata, name) == 0;
}

struct detect_case {
    const char *package, *lock;
    const char *argv; /* words joined with a space */
    int port;         /* asked for; 0: the detected one */
    int detected_port;
    const char *base;
};

static void check(const struct detect_case *one)
{
    struct detected detected;
    char joined[128] = "";
    size_t i;
    json_t *word;

    assert_int_equal(detect_dev_server(one->package, strlen(one->package), only, (void *)one->lock,
                                       &detected, NULL),
                     0);
    assert_int_equal(detected.port, one->detected_port);
    json_t *argv = detect_argv(&detected, one->port ? one->port : detected.port, one->base);
    json_array_foreach(argv, i, word)
    {
        strcat(joined, i ? " " : "");
        strcat(joined, json_string_value(word));
    }
    assert_string_equal(joined, one->argv);
    json_decref(argv);
}

#define DEV "\"scripts\":{\"dev\":\"x\"}"
#define WS  "--client-web-socket-url=auto://0.0.0.0:0/ws"
#define SERVE(line)                                                                                \
    "\"scripts\":{\"dev\":\"" line "\"},\"devDependencies\":{\"webpack-dev-server\":\"6\"}"
#define VITE "\"devDependencies\":{\"vite\":\"^7\"}"

static void test_detects(void **state)
{
    static const struct detect_case cases[] = {
        {"{" DEV "}", NULL, "npm run dev", 0, 3000, NULL},
        {"{\"scripts\":{\"start\":\"x\"}}", NULL, "npm run start", 0, 3000, NULL},
        {"{\"scripts\":{\"dev\":\"\",\"start\":\"x\"}}", NULL, "npm run start", 0, 3000, NULL},
        {"{" DEV "," VITE "}", "package-lock.json", "npm run dev", 0, 5173, NULL},
        {"{" DEV "," VITE "}", "package-lock.json", "npm run dev -- --port 4000", 4000, 5173, NULL},
        {"{" DEV "," VITE "}", "pnpm-lock.yaml", "pnpm run dev --port 4000", 4000, 5173, NULL},
        {"{" DEV "," VITE "}", "yarn.lock", "yarn run dev", 5173, 5173, NULL},
        {"{" DEV "}", "bun.lock", "bun run dev", 0, 3000, NULL},
        {"{" DEV "}", "bun.lockb", "bun run dev", 8000, 3000, NULL},
        {"{" DEV ",\"dependencies\":{\"astro\":\"1\",\"vite\":\"1\"}}", NULL, "npm run dev", 0,
         4321, NULL},
        {"{" SERVE("webpack serve --mode development") "}", NULL, "npm run dev -- " WS, 0, 8080,
         NULL},
        {"{" SERVE("webpack serve") "}", "yarn.lock", "yarn run dev --port 9000 " WS, 9000, 8080,
         NULL},
        {"{" SERVE("webpack serve && true") "}", NULL, "npm run dev", 0, 8080, NULL},
        {"{" SERVE("webpack served") "}", NULL, "npm run dev", 0, 8080, NULL},
        {"{" SERVE("node webpack serve") "}", NULL, "npm run dev", 0, 8080, NULL},
        {"{" DEV ",\"dependencies\":{\"react-scripts\":\"1\"}}", NULL, "npm run dev", 9000, 3000,
         NULL},
        {"{\"scripts\":{\"dev\":\"vite\"}," VITE "}", NULL, "npm run dev -- --base /p/x/5173", 0,
         5173, "/p/x/5173"},
        {"{\"scripts\":{\"dev\":\"vite --open\"}," VITE "}", "yarn.lock", "yarn run dev --base /b",
         0, 5173, "/b"},
        {"{\"scripts\":{\"dev\":\"vite & watch\"}," VITE "}", NULL, "npm run dev", 0, 5173, "/b"},
        {"{\"scripts\":{\"dev\":\"astro dev\"},\"dependencies\":{\"astro\":\"1\"}}",
         "pnpm-lock.yaml", "pnpm run dev --port 4000", 4000, 4321, "/b"},
        {"{\"scripts\":{\"dev\":\"next dev\"},\"dependencies\":{\"next\":\"1\"}}", NULL,
         "npm run dev", 0, 3000, "/b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(&cases[i]);
}

static void test_says_what_is_missing(void **state)
{
    static const char *const packages[] = {NULL,
                                           "{",
                                           "[]",
                                           "{}",
                                           "{\"scripts\":[]}",
                                           "{\"scripts\":{\"dev\":7}}",
                                           "{\"scripts\":{\"build\":\"x\"}," VITE "}"};

    (void)state;
    for (size_t i = 0; i < sizeof(packages) / sizeof(packages[0]); i++) {
        struct detected detected = {.port = 0};
        struct error err = ERROR_NONE;
        const char *text = packages[i];
        assert_int_equal(
            detect_dev_server(text, text ? strlen(text) : 0, only, NULL, &detected, &err), -ENOENT);
        assert_string_equal(err.code, "dev_script_missing");
        assert_non_null(strstr(err.message, "package.json"));
        assert_true(detected.port > 0);
    }
}

static void test_environment(void **state)
{
    json_t *env = detect_env(5173, NULL), *below = detect_env(5173, "/p/x/5173");

    (void)state;
    assert_string_equal(json_string_value(json_object_get(env, "PORT")), "5173");
    assert_string_equal(json_string_value(json_object_get(env, "HOST")), "127.0.0.1");
    assert_null(json_object_get(env, "AURACODE_BASE_PATH"));
    assert_string_equal(json_string_value(json_object_get(below, "AURACODE_BASE_PATH")),
                        "/p/x/5173");
    json_decref(env);
    json_decref(below);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detects),
        cmocka_unit_test(test_says_what_is_missing),
        cmocka_unit_test(test_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
