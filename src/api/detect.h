/* How a project's dev server is started: from its package.json and the lock files beside it. Pure;
 * the texts come from the sandbox and are hostile. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct package_manager {
    const char *name, *lock_file;
};

/* In order of preference when several lock files are there. */
extern const struct package_manager package_managers[];
extern const size_t n_package_managers;

struct detected {
    const struct package_manager *manager; /* npm when no lock file tells */
    const char *script;                    /* "dev" or "start" */
    const char *framework;                 /* package name, or NULL */
    int port;                              /* the framework's own */
    bool port_option;                      /* takes --port; the others read PORT */
    const char *option;                    /* that it needs behind a proxy, or NULL */
    const char *base_option;               /* takes the path to serve below, or NULL */
};

#define PACKAGE_JSON_MAX (1u << 20)

/* `text`: package.json or NULL when there is none; `has_file` answers for the project's folder.
 * -ENOENT with code "dev_script_missing": nothing in it starts a dev server; then only `manager`,
 * `framework` and `port` of *ret_detected are set. */
int detect_dev_server(const char *text, size_t length,
                      bool (*has_file)(void *userdata, const char *name), void *userdata,
                      struct detected *ret_detected, struct error *err);

/* [manager, "run", script], what makes it use `port` where that is not the framework's own, what it
 * needs behind a proxy, and what makes it serve below `base` (NULL: at the root) where there is an
 * option for that; new reference or NULL. */
json_t *detect_argv(const struct detected *detected, int port, const char *base);

/* What the frameworks look at to bind to `port` on loopback, to stay quiet, and to serve below
 * `base` (NULL: at the root); new reference or NULL. */
json_t *detect_env(int port, const char *base);
