/* The sandbox object of protocol.h. */
#include "supervisor/pause.h"

json_t *sandbox_to_json(const struct sandbox *sandbox, bool brief)
{
    if (brief)
        return json_pack("{s:s, s:s, s:b, s:s, s:I}", "id", sandbox->id, "state",
                         sandbox_state_name(sandbox->state), "sleeps", sandbox_sleeps(sandbox),
                         "access", sandbox_access(sandbox), "access_epoch",
                         (json_int_t)sandbox->access_epoch);
    struct limits limits = limits_resolved(&sandbox->limits);
    json_t *value = json_pack(
        "{s:s, s:s, s:o, s:s, s:i, s:I, s:I, s:s, s:I}", "id", sandbox->id, "state",
        sandbox_state_name(sandbox->state), "limits", limits_to_json(&limits), "disk",
        sandbox->disk->name, "generation", (int)sandbox->generation, "created_at",
        (json_int_t)sandbox->created_at, "started_at", (json_int_t)sandbox->started_at, "access",
        sandbox_access(sandbox), "access_epoch", (json_int_t)sandbox->access_epoch);
    if (value && (json_object_update_new(value, cause_to_json(&sandbox->cause)) < 0 ||
                  json_object_update_missing(value, sandbox->spec) < 0)) {
        json_decref(value);
        return NULL;
    }
    return value;
}
