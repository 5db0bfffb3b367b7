/* Theory of operation: see grouped.h. */
#include "supervisor/grouped.h"

#include "base/cleanup.h"
#include "base/fields.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>

#define GROUP_MAX 1024

struct group {
    json_t *strings;
    const char *reason, *comment;
};

int strings_each(const json_t *strings, const char *field, grouped_fn each, void *context,
                 struct error *err)
{
    char path[256];
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(strings); i++) {
        snprintf(path, sizeof(path), "%s[%zu]", field, i);
        r = each(context, json_string_value(json_array_get(strings, i)), path, err);
    }
    return r;
}

static int group_each(const json_t *member, const char *path, const char *key, grouped_fn each,
                      void *context, struct error *err)
{
    const struct field fields[] = {
        {key, FIELD_STRING_ARRAY, offsetof(struct group, strings), 1, GROUP_MAX, true, NULL},
        {"reason", FIELD_STRING, offsetof(struct group, reason), 1, 256, true, NULL},
        {"comment", FIELD_STRING, offsetof(struct group, comment), 0, 1024, false, NULL},
    };
    struct group group = {0};
    char prefix[512];

    snprintf(prefix, sizeof(prefix), "%s.", path);
    int r = fields_decode(member, fields, ELEMENTS(fields), prefix, &group, err);
    if (r < 0)
        return r;
    snprintf(prefix, sizeof(prefix), "%s.%s", path, key);
    return strings_each(group.strings, prefix, each, context, err);
}

int grouped_each(const json_t *list, const char *field, const char *key, grouped_fn each,
                 void *context, struct error *err)
{
    char path[256];
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const json_t *member = json_array_get(list, i);
        snprintf(path, sizeof(path), "%s[%zu]", field, i);
        if (json_is_string(member))
            r = each(context, json_string_value(member), path, err);
        else if (json_is_object(member))
            r = group_each(member, path, key, each, context, err);
        else
            r = error_set_field(err, path, "expected a string, or an object with `%s` and `reason`",
                                key);
    }
    return r;
}

static bool holds(const json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (str_equal(json_string_value(json_array_get(names, i)), name))
            return true;
    return false;
}

void grouped_remove(json_t *list, const char *key, const json_t *names)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        json_t *member = json_array_get(list, i), *strings = json_object_get(member, key);
        if (strings)
            grouped_remove(strings, key, names);
        if (strings ? json_array_size(strings) == 0 : holds(names, json_string_value(member)))
            json_array_remove(list, i);
    }
}
