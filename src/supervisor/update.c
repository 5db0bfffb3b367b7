/* Theory of operation. A change makes the sandbox's settings as they shall be, from a copy; a table
 * of steps then takes what runs from the old ones to the new ones. A step that fails, and those
 * before it, are taken back by the same functions with old and new exchanged. Only then does the
 * sandbox take the new settings over, and they are saved; a save that fails is taken back too. */
#include "supervisor/update.h"

#include "supervisor/client.h"
#include "supervisor/views.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>

const struct field update_fields[UPDATE_FIELDS] = {
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct update_params, id), 0, 0, true, NULL},
    {"name", FIELD_STRING, offsetof(struct update_params, name), 0, 128, false, NULL},
    {"labels", FIELD_STRING_MAP, offsetof(struct update_params, labels), 0, 32, false, NULL},
    {"limits", FIELD_OBJECT, offsetof(struct update_params, limits), 0, 0, false, NULL},
};

/* Everything of a sandbox that can change. */
struct settings {
    struct limits limits;
    json_t *spec;
};

/* Takes a running sandbox from one to the other; nothing to do where they agree. */
typedef int (*update_step)(struct sandbox *sandbox, const struct settings *from,
                           const struct settings *to, struct error *err);

static int step_cgroup(struct sandbox *sandbox, const struct settings *from,
                       const struct settings *to, struct error *err)
{
    return cgroup_set_limits(&sandbox->supervisor->cgroups, sandbox->id, &from->limits, &to->limits,
                             err);
}

static int step_tmpfs(struct sandbox *sandbox, const struct settings *from,
                      const struct settings *to, struct error *err)
{
    return tmpfs_resize(sandbox, &from->limits, &to->limits, err);
}

static int step_views(struct sandbox *sandbox, const struct settings *from,
                      const struct settings *to, struct error *err)
{
    if (from->limits.memory == to->limits.memory && from->limits.swap == to->limits.swap &&
        from->limits.cpu == to->limits.cpu)
        return 0;
    int r = cpus_reassign(sandbox, &to->limits, err);
    return r == 0 ? views_write(sandbox, &to->limits, err) : r;
}

static const update_step steps[] = {step_tmpfs, step_cgroup, step_views};

/* Takes the first `count` steps back, last first. */
static void go_back(struct sandbox *sandbox, size_t count, const struct settings *old,
                    const struct settings *new)
{
    for (size_t i = count; i-- > 0;) {
        struct error err = ERROR_NONE;
        if (steps[i](sandbox, new, old, &err) < 0)
            log_warning("sandbox %s: putting a limit back: %s", sandbox->id, err.message);
    }
}

/* Returns how many steps were begun in *ret_begun. */
static int go(struct sandbox *sandbox, const struct settings *old, const struct settings *new,
              size_t *ret_begun, struct error *err)
{
    int r = 0;

    *ret_begun = 0;
    while (r == 0 && sandbox->state == SANDBOX_RUNNING && *ret_begun < ELEMENTS(steps))
        r = steps[(*ret_begun)++](sandbox, old, new, err);
    return r;
}

static int make_spec(const struct sandbox *sandbox, const struct update_params *params,
                     json_t **ret_spec, struct error *err)
{
    cleanup_json json_t *spec = json_copy(sandbox->spec);
    int r = spec ? 0 : -ENOMEM;

    if (r == 0 && params->name)
        r = json_object_set_new(spec, "name", json_string(params->name));
    if (r == 0 && params->labels)
        r = json_object_set(spec, "labels", params->labels);
    if (r < 0)
        return error_oom(err);
    *ret_spec = TAKE_PTR(spec);
    return 0;
}

static int save(struct sandbox *sandbox, struct settings *new, struct error *err)
{
    struct settings old = {sandbox->limits, sandbox->spec};

    sandbox->limits = new->limits;
    sandbox->spec = new->spec;
    int r = sandbox_save_config(sandbox, err);
    if (r < 0) {
        sandbox->limits = old.limits;
        sandbox->spec = old.spec;
        return r;
    }
    new->spec = NULL; /* the sandbox's now */
    json_decref(old.spec);
    return 0;
}

int sandbox_update(struct sandbox *sandbox, const struct update_params *params, struct error *err)
{
    cleanup_json json_t *old_spec = json_incref(sandbox->spec);
    struct settings old = {sandbox->limits, old_spec}, new = {sandbox->limits, NULL};
    size_t begun = 0;

    int r = labels_check(params->labels, err);
    if (r == 0)
        r = limits_decode(params->limits, &new.limits, err);
    if (r == 0)
        r = make_spec(sandbox, params, &new.spec, err);
    if (r == 0)
        r = go(sandbox, &old, &new, &begun, err);
    if (r == 0)
        r = save(sandbox, &new, err);
    if (r < 0) {
        go_back(sandbox, begun, &old, &new);
        json_decref(new.spec);
        return r;
    }
    log_info("sandbox %s: changed", sandbox->id);
    clients_announce(sandbox->supervisor, sandbox_to_json(sandbox, false),
                     sandbox_to_json(sandbox, true));
    return 0;
}
