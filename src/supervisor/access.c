/* Theory of operation: who may open a sandbox's previews is part of its specification; which tokens
 * count, its epoch says. Both are in config.json and in the state that the proxy follows, so a
 * change is in force as soon as it is announced, and stays so over a restart. */
#include "supervisor/sandbox.h"

#include "supervisor/client.h"

#include "base/log.h"
#include "base/spec.h"

/* One of an older version has no such setting, and was public. */
const char *sandbox_access(const struct sandbox *sandbox)
{
    const char *access = json_string_value(json_object_get(sandbox->spec, "access"));

    return access ? access : access_choices[0];
}

int sandbox_revoke_tokens(struct sandbox *sandbox, struct error *err)
{
    int64_t before = sandbox->access_epoch;

    sandbox->access_epoch = before == ACCESS_EPOCH_MAX ? 0 : before + 1;
    int r = sandbox_save_config(sandbox, err);
    if (r < 0) {
        sandbox->access_epoch = before;
        return r;
    }
    log_info("sandbox %s: preview tokens revoked", sandbox->id);
    clients_announce(sandbox->supervisor, sandbox_to_json(sandbox, false),
                     sandbox_to_json(sandbox, true));
    return 0;
}
