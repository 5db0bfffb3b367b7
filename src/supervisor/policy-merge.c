/* Theory of operation: see policy-merge.h. The base is a copy that nobody else holds. */
#include "supervisor/policy-merge.h"

#include "supervisor/grouped.h"

#include "base/cleanup.h"
#include "base/str.h"

/* Calls taken out are in no list of the base any more, so that what is said of them now holds. */
static void remove_calls(json_t *seccomp, const json_t *names)
{
    grouped_remove(json_object_get(seccomp, "allow"), "names", names);
    grouped_remove(json_object_get(seccomp, "rules"), "names", names);
}

static int append(json_t *seccomp, const char *list, json_t *values)
{
    json_t *there = json_object_get(seccomp, list);

    if (!values)
        return 0;
    return there ? json_array_extend(there, values) : json_object_set(seccomp, list, values);
}

static int merge_seccomp(json_t *base, json_t *child)
{
    static const char *const lists[] = {"allow", "deny", "rules"};
    json_t *removed = json_object_get(child, "remove");
    int r = 0;

    for (size_t i = 0; i < json_array_size(removed); i++)
        remove_calls(base, json_object_get(json_array_get(removed, i), "names"));
    r |= append(base, "deny", removed);
    for (size_t i = 0; i < ELEMENTS(lists); i++)
        r |= append(base, lists[i], json_object_get(child, lists[i]));
    return r;
}

static int merge_member(json_t *base, const char *key, json_t *value)
{
    json_t *there = json_object_get(base, key);

    if (str_equal(key, "extends"))
        return 0;
    if (there && str_equal(key, "seccomp"))
        return merge_seccomp(there, value);
    if (json_is_object(there) && json_is_object(value))
        return json_object_update(there, value);
    return json_object_set(base, key, value);
}

int policy_merge(json_t *base, json_t *child, struct error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(child, key, value)
    {
        if (merge_member(base, key, value) < 0)
            return error_oom(err);
    }
    return 0;
}
