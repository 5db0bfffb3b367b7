/* Theory of operation: see pause.h. The freezer of the v2 tree works with no controller, so also
 * where the limits are on v1; it kills what is frozen, too. The state is saved before the sandbox
 * is frozen and after it is thawed: a supervisor that dies in between leaves one that is said to be
 * paused, which the next one freezes again. */
#include "supervisor/pause.h"

#include "supervisor/idle.h"

#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>

bool sandbox_lives(const struct sandbox *sandbox)
{
    return sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_PAUSED;
}

bool sandbox_sleeps(const struct sandbox *sandbox)
{
    return sandbox->state == SANDBOX_PAUSED && str_equal(sandbox->cause.word, CAUSE_IDLE);
}

int sandbox_freeze(const struct sandbox *sandbox, bool frozen, struct error *err)
{
    return cgroup_freeze(&sandbox->supervisor->cgroups, sandbox->id, frozen, err);
}

int sandbox_pause(struct sandbox *sandbox, const char *why, struct error *err)
{
    if (str_equal(why, CAUSE_IDLE))
        cause_set(&sandbox->cause, CAUSE_IDLE, NULL, "paused, since nobody used it for %lld s",
                  (long long)sandbox->supervisor->config.sandbox_idle_timeout_s);
    else
        cause_set(&sandbox->cause, CAUSE_REQUEST, NULL, "paused on request");
    sandbox_set_state(sandbox, SANDBOX_PAUSED);
    int r = sandbox_freeze(sandbox, true, err);
    if (r < 0)
        sandbox_resume(sandbox, NULL);
    return r;
}

int sandbox_resume(struct sandbox *sandbox, struct error *err)
{
    int r = sandbox_freeze(sandbox, false, err);

    if (r < 0)
        return r;
    cause_clear(&sandbox->cause);
    idle_used(sandbox);
    sandbox_set_state(sandbox, SANDBOX_RUNNING);
    return 0;
}

int op_pause(struct request *request, void *params, struct error *err)
{
    struct sandbox *sandbox = request->subject;
    int r = 0;

    (void)params;
    if (sandbox_sleeps(sandbox)) { /* from now on nobody is to wake it */
        cause_set(&sandbox->cause, CAUSE_REQUEST, NULL, "paused on request");
        sandbox_set_state(sandbox, SANDBOX_PAUSED);
    } else if (sandbox->state == SANDBOX_RUNNING) {
        r = sandbox_pause(sandbox, CAUSE_REQUEST, err);
    }
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

int op_resume(struct request *request, void *params, struct error *err)
{
    struct sandbox *sandbox = request->subject;
    int r = sandbox->state == SANDBOX_PAUSED ? sandbox_resume(sandbox, err) : 0;

    (void)params;
    return r == 0 ? sandbox_wait(sandbox, request, err) : r;
}

/* Each of a sandbox's wakes needs [sandbox] idle_timeout of silence before it, so there are few. */
int op_wake(struct request *request, void *params, struct error *err)
{
    struct sandbox *sandbox = request->subject;
    int r = 0;

    (void)params;
    if (sandbox_sleeps(sandbox))
        r = sandbox_resume(sandbox, err);
    else if (sandbox->state == SANDBOX_PAUSED)
        r = error_set_code(err, EBUSY, "sandbox_paused",
                           "sandbox %s is paused on request: resume it first", sandbox->id);
    if (r < 0)
        return r;
    bool brief = request->conn->role == ROLE_PROXY;
    request_reply(request, json_pack("{s:o}", "sandbox", sandbox_to_json(sandbox, brief)), NULL, 0);
    return 0;
}
