/* Theory of operation: see jwks.h. Only a sealed memfd is taken, since reading it cannot wait and
 * it cannot change between the reading here and that in the API. */
#include "supervisor/jwks.h"

#include "supervisor/client.h"

#include "base/cleanup.h"
#include "base/config.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define FILE_NAME "jwks.json"

bool jwks_wanted(const struct config *config)
{
    return str_starts(config->auth_jwks_url, "http");
}

void jwks_open(struct supervisor *supervisor)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *file = NULL;

    if (!jwks_wanted(&supervisor->config))
        return;
    int r = file_read_json(supervisor->state_fd, FILE_NAME, 4 * JWKS_BYTES_MAX, &file, &err);
    const char *url = json_string_value(json_object_get(file, "url"));
    const char *keys = json_string_value(json_object_get(file, "keys"));
    if (r == 0 && keys && str_equal(url, supervisor->config.auth_jwks_url))
        r = supervisor->jwks_fd = memfd_sealed("auracode-jwks", keys, strlen(keys), &err);
    if (r < 0 && r != -ENOENT)
        log_warning("the keys of [auth] jwks_url that were kept: %s", err.message);
}

static void save(const struct supervisor *supervisor, const char *keys)
{
    struct error err = ERROR_NONE;
    cleanup_json json_t *file =
        json_pack("{s:s, s:s}", "url", supervisor->config.auth_jwks_url, "keys", keys);
    int r =
        file ? file_write_json(supervisor->state_fd, FILE_NAME, file, 0600, &err) : error_oom(&err);

    if (r < 0)
        log_warning("the keys of [auth] jwks_url are not kept: %s", err.message);
}

int op_jwks_put(struct request *request, void *params, struct error *err)
{
    struct supervisor *supervisor = request->conn->userdata;
    cleanup_free char *keys = NULL;
    cleanup_close int fd = ipc_fds_take(&request->fds, 0);

    (void)params;
    int r = fd < 0 ? error_set(err, EINVAL, "expected the keys as a descriptor")
                   : memfd_read(fd, JWKS_BYTES_MAX, &keys, err);
    if (r < 0)
        return r;
    close_and_forget(&supervisor->jwks_fd);
    supervisor->jwks_fd = TAKE_FD(fd);
    save(supervisor, keys);
    request_reply(request, NULL, NULL, 0);
    clients_event(supervisor, json_pack("{s:s}", "event", "jwks.changed"));
    return 0;
}

int op_jwks_get(struct request *request, void *params, struct error *err)
{
    const struct supervisor *supervisor = request->conn->userdata;

    (void)params;
    if (supervisor->jwks_fd < 0)
        return error_set_code(err, ENOENT, "not_there", "no keys have come yet");
    request_reply(request, NULL, &supervisor->jwks_fd, 1);
    return 0;
}

int op_jwks_refresh(struct request *request, void *params, struct error *err)
{
    struct supervisor *supervisor = request->conn->userdata;

    (void)params;
    (void)err;
    request_reply(request, NULL, NULL, 0);
    clients_event(supervisor, json_pack("{s:s}", "event", "jwks.refresh"));
    return 0;
}
