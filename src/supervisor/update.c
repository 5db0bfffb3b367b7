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
#include <string.h>

const struct field update_fields[UPDATE_FIELDS] = {
    {"sandbox", FIELD_SANDBOX_ID, offsetof(struct update_params, id), 0, 0, true, NULL},
    {"name", FIELD_STRING, offsetof(struct update_params, name), 0, 128, false, NULL},
    {"labels", FIELD_STRING_MAP, offsetof(struct update_params, labels), 0, 32, false, NULL},
    {"limits", FIELD_OBJECT, offsetof(struct update_params, limits), 0, 0, false, NULL},
    {"egress", FIELD_ANY, offsetof(struct update_params, egress), 0, 0, false, NULL},
    {"access", FIELD_CHOICE, offsetof(struct update_params, access), 0, 0, false, access_choices},
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

static int step_disk(struct sandbox *sandbox, const struct settings *from,
                     const struct settings *to, struct error *err)
{
    return sandbox->disk->change ? sandbox->disk->change(sandbox, &from->limits, &to->limits, err)
                                 : 0;
}

/* The last is for a sandbox at rest, too: its disk exists. */
static const update_step steps[] = {step_tmpfs, step_cgroup, step_views, step_disk};
#define FIRST_STEP_AT_REST 3

/* Takes the first `count` steps back, last first. */
static void go_back(struct sandbox *sandbox, size_t count, const struct settings *old,
                    const struct settings *new)
{
    size_t first = sandbox->state == SANDBOX_RUNNING ? 0 : FIRST_STEP_AT_REST;

    for (size_t i = count; i-- > first;) {
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

    *ret_begun = sandbox->state == SANDBOX_RUNNING ? 0 : FIRST_STEP_AT_REST;
    while (r == 0 && *ret_begun < ELEMENTS(steps))
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
    if (r == 0 && params->egress)
        r = json_object_set(spec, "egress", params->egress);
    if (r == 0 && params->access)
        r = json_object_set_new(spec, "access", json_string(params->access));
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

static int apply(struct sandbox *sandbox, const struct update_params *params, struct error *err)
{
    cleanup_json json_t *old_spec = json_incref(sandbox->spec);
    struct settings old = {sandbox->limits, old_spec}, new = {sandbox->limits, NULL};
    size_t begun = 0;

    int r = labels_check(params->labels, err);
    if (r == 0)
        r = limits_decode(params->limits, &new.limits, err);
    if (r == 0 && sandbox->disk->check)
        r = sandbox->disk->check(&old.limits, &new.limits, err);
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

static void reply(struct request *request, const struct sandbox *sandbox)
{
    request_reply(request, json_pack("{s:o}", "sandbox", sandbox_to_json(sandbox, false)), NULL, 0);
}

/* ---- egress
 * -------------------------------------------------------------------------------------------- */

/* Makes what is in force what the sandbox's settings say, after a change of them or one that
 * failed. */
static void settle_egress(struct sandbox *sandbox)
{
    struct error err = ERROR_NONE;

    if (!sandbox_egress(sandbox))
        egress_detach(sandbox);
    else if (sandbox->egress.linked && egress_set(sandbox, NULL, NULL, NULL, &err) < 0)
        log_warning("sandbox %s: %s", sandbox->id, err.message);
}

/* With the last steps, which take no time. */
static int finish(struct sandbox *sandbox, const struct update_params *params, struct error *err)
{
    int r = apply(sandbox, params, err);

    if (params->egress && sandbox->state == SANDBOX_RUNNING)
        settle_egress(sandbox);
    return r;
}

static int go_on(struct sandbox *sandbox, const struct update_params *params,
                 struct request *request, struct error *err);

struct egress_change {
    struct supervisor *supervisor;
    struct request *request; /* holds what params point to */
    char id[SANDBOX_ID_LENGTH + 1];
    struct update_params params;
};

static void egress_done(void *userdata, const struct error *failure)
{
    cleanup_free struct egress_change *change = userdata;
    struct sandbox *sandbox = sandbox_find(change->supervisor, change->id);
    struct error err = *failure;

    if (!err.err && (!sandbox || sandbox->state != SANDBOX_RUNNING))
        error_set_code(&err, EBUSY, "sandbox_not_running", "sandbox %s has ended", change->id);
    if (err.err && sandbox && sandbox->state == SANDBOX_RUNNING)
        settle_egress(sandbox);
    if (err.err || go_on(sandbox, &change->params, change->request, &err) < 0)
        request_fail(change->request, &err);
}

/* The helper first: what it has answered is in force. A link that shall go, goes last. */
static int change_egress(struct sandbox *sandbox, const struct update_params *params,
                         struct request *request, struct error *err)
{
    struct egress_change *change = calloc(1, sizeof(*change));

    if (!change)
        return error_oom(err);
    *change = (struct egress_change){
        .supervisor = sandbox->supervisor, .request = request, .params = *params};
    memcpy(change->id, sandbox->id, sizeof(change->id));
    int r = sandbox->egress.linked
                ? egress_set(sandbox, params->egress, egress_done, change, err)
                : egress_attach(sandbox, params->egress, egress_done, change, err);
    if (r < 0)
        free(change);
    return r;
}

static int check_egress(const struct sandbox *sandbox, const json_t *egress, struct error *err)
{
    int r = egress_check(egress, "egress", err);

    return r == 0 ? egress_check_known(sandbox->supervisor, egress, err) : r;
}

/* ---- what takes long, and goes before the rest in a worker --------------------------------------
 *
 * A disk that must grow; and a memory limit that falls, since the kernel reclaims what is above it
 * within the write (0.4 s for 600 MB of page cache). The steps find both done. */

struct ahead {
    struct supervisor *supervisor;
    struct request *request; /* holds what params point to */
    const struct disk_backend *disk;
    char id[SANDBOX_ID_LENGTH + 1];
    struct update_params params;
    struct limits old, new;
    bool grow, squeeze;
};

static struct limits squeezed(const struct ahead *ahead)
{
    struct limits limits = ahead->old;

    limits.memory = ahead->new.memory;
    limits.memory_high = ahead->new.memory_high;
    return limits;
}

static int ahead_job(void *userdata, struct error *err)
{
    const struct ahead *ahead = userdata;
    struct limits to = squeezed(ahead);
    int r = ahead->grow ? ahead->disk->grow(ahead->supervisor, ahead->id, &ahead->new, err) : 0;

    if (r == 0 && ahead->squeeze)
        r = cgroup_set_limits(&ahead->supervisor->cgroups, ahead->id, &ahead->old, &to, err);
    return r;
}

/* The rest was refused, or the job itself half way: what holds is what the sandbox says. */
static void unsqueeze(const struct ahead *ahead, const struct sandbox *sandbox)
{
    struct limits from = squeezed(ahead);

    if (ahead->squeeze && sandbox && sandbox->state == SANDBOX_RUNNING)
        cgroup_set_limits(&ahead->supervisor->cgroups, ahead->id, &from, &sandbox->limits, NULL);
}

/* The sandbox may have ended meanwhile, or be gone. */
static void ahead_done(void *userdata, const struct error *failure)
{
    struct ahead *ahead = userdata;
    struct sandbox *sandbox = sandbox_find(ahead->supervisor, ahead->id);
    struct error err = *failure;

    if (!sandbox || sandbox->state == SANDBOX_REMOVING)
        error_set_code(&err, ENOENT, "sandbox_not_found", "sandbox %s was removed", ahead->id);
    else if (err.err && ahead->squeeze && sandbox->state != SANDBOX_RUNNING)
        err = ERROR_NONE; /* its cgroup went with it: nothing is left to squeeze */
    if (sandbox && !err.err && finish(sandbox, &ahead->params, &err) == 0) {
        reply(ahead->request, sandbox);
    } else {
        unsqueeze(ahead, sandbox);
        if (ahead->params.egress && sandbox && sandbox->state == SANDBOX_RUNNING)
            settle_egress(sandbox);
        request_fail(ahead->request, &err);
    }
    free(ahead);
}

static int go_ahead(struct sandbox *sandbox, const struct ahead *what, struct error *err)
{
    struct ahead *ahead = malloc(sizeof(*ahead));

    if (!ahead)
        return error_oom(err);
    *ahead = *what;
    memcpy(ahead->id, sandbox->id, sizeof(ahead->id));
    int r = worker_start(sandbox->supervisor, ahead_job, ahead_done, ahead, err);
    if (r < 0)
        free(ahead);
    return r;
}

static bool must_squeeze(const struct sandbox *sandbox, const struct limits *new)
{
    const struct limits *old = &sandbox->limits;

    return sandbox->state == SANDBOX_RUNNING &&
           (new->memory < old->memory ||
            (new->memory_high && (!old->memory_high || new->memory_high < old->memory_high)));
}

static int go_on(struct sandbox *sandbox, const struct update_params *params,
                 struct request *request, struct error *err)
{
    struct limits limits = sandbox->limits;
    int r = limits_decode(params->limits, &limits, err);

    if (r < 0)
        return r;
    const struct ahead ahead = {.supervisor = sandbox->supervisor,
                                .request = request,
                                .disk = sandbox->disk,
                                .params = *params,
                                .old = sandbox->limits,
                                .new = limits,
                                .grow = sandbox->disk->must_grow &&
                                        sandbox->disk->must_grow(sandbox, &limits),
                                .squeeze = must_squeeze(sandbox, &limits)};
    if (ahead.grow || ahead.squeeze)
        return go_ahead(sandbox, &ahead, err);
    r = finish(sandbox, params, err);
    if (r == 0)
        reply(request, sandbox);
    return r;
}

int sandbox_update(struct sandbox *sandbox, const struct update_params *params,
                   struct request *request, struct error *err)
{
    struct limits limits = sandbox->limits;
    int r = labels_check(params->labels, err);

    if (r == 0)
        r = limits_decode(params->limits, &limits, err);
    if (r == 0 && sandbox->disk->check)
        r = sandbox->disk->check(&sandbox->limits, &limits, err);
    if (r == 0)
        r = check_egress(sandbox, params->egress, err);
    if (r < 0)
        return r;
    if (params->egress && sandbox->state == SANDBOX_RUNNING &&
        egress_mode(params->egress) != EGRESS_NONE)
        return change_egress(sandbox, params, request, err);
    return go_on(sandbox, params, request, err);
}
