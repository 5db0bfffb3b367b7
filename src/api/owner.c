/* Theory of operation: see owner.h. An id is never used again and its owner never changes, so what
 * the supervisor said once is remembered, in a table that newer sandboxes overwrite. */
#include "api/owner.h"

#include "api/request.h"
#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define REMEMBERED 1024u

struct remembered {
    char id[SANDBOX_ID_LENGTH + 1];
    char owner[OWNER_MAX + 1];
};

struct check {
    struct http_request *request;
    void (*done)(struct http_request *request, const struct error *err);
};

static struct remembered remembered[REMEMBERED];

static struct remembered *place_of(const char *id)
{
    return &remembered[limiter_key(0, id, strlen(id)) % REMEMBERED];
}

/* A session's sandbox belongs to its user by its UUID, others by the owner's name. */
static bool is_caller(const struct http_request *request, const char *owner)
{
    return owner && *owner &&
           (str_equal(owner, request->who.owner) || str_equal(owner, request->who.user));
}

bool owner_may_see(const struct http_request *request, const json_t *sandbox)
{
    const char *owner = json_string_value(json_object_get(sandbox, "owner"));

    return request->who.admin || is_caller(request, owner);
}

static void finish(struct http_request *request, bool allowed,
                   void (*done)(struct http_request *request, const struct error *err))
{
    struct error err = ERROR_NONE;

    if (!allowed)
        error_set_code(&err, ENOENT, "sandbox_not_found", "there is no sandbox `%s`",
                       request->captures[0]);
    done(request, allowed ? NULL : &err);
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct check check = *(struct check *)userdata;
    json_t *sandbox = json_object_get(result, "sandbox");
    const char *id = json_string_value(json_object_get(sandbox, "id"));
    const char *owner = json_string_value(json_object_get(sandbox, "owner"));

    (void)fds;
    free(userdata);
    if (!result) {
        check.done(check.request, err);
        return;
    }
    if (id && owner && *owner && sandbox_id_valid(id) && strlen(owner) <= OWNER_MAX) {
        struct remembered *place = place_of(id);
        memcpy(place->id, id, sizeof(place->id));
        snprintf(place->owner, sizeof(place->owner), "%s", owner);
    }
    finish(check.request, owner_may_see(check.request, sandbox), check.done);
}

void owner_check(struct http_request *request, const char *sandbox,
                 void (*done)(struct http_request *request, const struct error *err))
{
    const struct remembered *place = place_of(sandbox);
    struct error err = ERROR_NONE;

    if (str_equal(place->id, sandbox)) {
        finish(request, is_caller(request, place->owner), done);
        return;
    }
    struct check *check = malloc(sizeof(*check));
    if (!check) {
        error_oom(&err);
        done(request, &err);
        return;
    }
    *check = (struct check){request, done};
    supervisor_call(request->api->supervisor, "sandbox.get", json_pack("{s:s}", "sandbox", sandbox),
                    CALL_REPEATABLE, on_sandbox, check);
}
