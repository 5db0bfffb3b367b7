/* HTTP client of the API: over the unix socket, or TCP with a token. One request at a time, on one
 * kept connection. What the API refuses becomes an error object with the API's own code and
 * sentence, and the exit code that the CLI ends with for it. */
#pragma once

#include "base/error.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What `auracode` exits with. `exec` returns the command's own instead. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_REFUSED = 4,
    EXIT_UNREACHABLE = 5,
};

#define CLIENT_ANSWER_MAX ((size_t)64 << 20) /* bytes of a JSON answer */

struct client {
    CURL *curl;
    const char *socket;     /* NULL: TCP */
    const char *cacert;     /* PEM file with the authorities to trust; NULL: the system's */
    const char *base;       /* "http://localhost", without a slash at the end */
    const char *token;      /* NULL: none */
    enum exit_code failure; /* of the last request that failed */
};

/* Everything is borrowed. `host` NULL: the unix socket. */
int client_init(struct client *client, const char *socket, const char *host, const char *token,
                const char *cacert, struct error *err);
void client_free(struct client *client);

/* `body` is stolen, NULL: none. `path` begins with a slash. `ret_answer` may be NULL; an answer
 * without a body is JSON null. */
int client_json(struct client *client, const char *method, const char *path, json_t *body,
                json_t **ret_answer, struct error *err);

/* Called for every piece of a 2xx answer's body; other than 0 ends the transfer with that -errno.
 */
typedef int (*client_sink_fn)(void *userdata, const char *data, size_t length);

/* Called once, before the body, with the answer's content type ("" if absent). */
typedef int (*client_head_fn)(void *userdata, const char *content_type);

int client_get(struct client *client, const char *path, client_head_fn head, client_sink_fn sink,
               void *userdata, struct error *err);

/* PUTs `size` bytes of `file`. */
int client_put(struct client *client, const char *path, FILE *file, int64_t size,
               struct error *err);

/* Sets up an easy handle for this server: used for requests and for the WebSocket's connection. */
void client_prepare(const struct client *client, CURL *curl);

/* The error and exit code of a failed transfer, or of an HTTP status from 400 with its body. */
int client_transfer_error(struct client *client, CURLcode code, struct error *err);
int client_status_error(struct client *client, long status, const char *body, size_t length,
                        struct error *err);
