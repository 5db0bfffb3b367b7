/* Theory of operation: see capabilities.h. The ceiling is a table with what needs each. */
#include "supervisor/capabilities.h"

#include "supervisor/grouped.h"

#include "base/cleanup.h"
#include "base/fields.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

static const struct {
    const char *name;
    cap_value_t capability;
    const char *why;
} ceiling[] = {
    {"CAP_SETUID", CAP_SETUID, "processes are started as the project's user"},
    {"CAP_SETGID", CAP_SETGID, "and in its group"},
    {"CAP_SETPCAP", CAP_SETPCAP, "their bounding sets are emptied and their securebits locked"},
    {"CAP_KILL", CAP_KILL, "processes of the project's user are signalled"},
};

struct section {
    json_t *init, *processes;
    const char *comment;
};

static const struct field section_fields[] = {
    {"init", FIELD_STRING_ARRAY, offsetof(struct section, init), 0, 64, false, NULL},
    {"processes", FIELD_STRING_ARRAY, offsetof(struct section, processes), 0, 64, false, NULL},
    {"comment", FIELD_STRING, offsetof(struct section, comment), 0, 1024, false, NULL},
};

static uint64_t bit_of(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(ceiling); i++)
        if (str_equal(ceiling[i].name, name))
            return UINT64_C(1) << ceiling[i].capability;
    return 0;
}

static int check_of_init(void *context, const char *name, const char *path, struct error *err)
{
    char list[128] = "";

    (void)context;
    if (bit_of(name))
        return 0;
    for (size_t i = 0; i < ELEMENTS(ceiling); i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", ceiling[i].name);
    }
    return error_set_field(err, path, "`%.64s` is above the ceiling: expected one of %s", name,
                           list);
}

static int refuse(void *context, const char *name, const char *path, struct error *err)
{
    (void)context;
    return error_set_field(
        err, path, "`%.64s` is above the ceiling: processes of a project have no capability", name);
}

int capabilities_check(const json_t *capabilities, struct error *err)
{
    struct section section = {0};

    if (!capabilities)
        return 0;
    int r = fields_decode(capabilities, section_fields, ELEMENTS(section_fields), "capabilities.",
                          &section, err);
    if (r == 0)
        r = strings_each(section.init, "capabilities.init", check_of_init, NULL, err);
    return r == 0 ? strings_each(section.processes, "capabilities.processes", refuse, NULL, err)
                  : r;
}

uint64_t capabilities_of_init(const json_t *capabilities)
{
    const json_t *names = json_object_get(capabilities, "init");
    uint64_t mask = 0;

    for (size_t i = 0; names && i < json_array_size(names); i++)
        mask |= bit_of(json_string_value(json_array_get(names, i)));
    for (size_t i = 0; !names && i < ELEMENTS(ceiling); i++)
        mask |= UINT64_C(1) << ceiling[i].capability;
    return mask;
}
