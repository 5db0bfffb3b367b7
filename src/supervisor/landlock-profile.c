/* Theory of operation: see landlock-profile.h. */
#include "supervisor/landlock-profile.h"

#include "supervisor/grouped.h"

#include "base/cleanup.h"
#include "base/fields.h"
#include "base/landlock.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define RULES_MAX 64
#define PORTS_MAX 256

struct section {
    json_t *sandbox, *user, *scopes, *tcp;
    const char *comment;
};

struct rule {
    json_t *paths, *access;
    const char *reason, *comment;
};

struct tcp {
    json_t *bind, *connect;
    const char *comment;
};

static const struct field section_fields[] = {
    {"sandbox", FIELD_ARRAY, offsetof(struct section, sandbox), 1, RULES_MAX, false, NULL},
    {"user", FIELD_ARRAY, offsetof(struct section, user), 1, RULES_MAX, false, NULL},
    {"scopes", FIELD_STRING_ARRAY, offsetof(struct section, scopes), 0, 8, false, NULL},
    {"tcp", FIELD_OBJECT, offsetof(struct section, tcp), 0, 0, false, NULL},
    {"comment", FIELD_STRING, offsetof(struct section, comment), 0, 1024, false, NULL},
};

static const struct field rule_fields[] = {
    {"paths", FIELD_STRING_ARRAY, offsetof(struct rule, paths), 1, 64, true, NULL},
    {"access", FIELD_STRING_ARRAY, offsetof(struct rule, access), 1, 8, true, NULL},
    {"reason", FIELD_STRING, offsetof(struct rule, reason), 1, 256, true, NULL},
    {"comment", FIELD_STRING, offsetof(struct rule, comment), 0, 1024, false, NULL},
};

static const struct field tcp_fields[] = {
    {"bind", FIELD_ARRAY, offsetof(struct tcp, bind), 0, PORTS_MAX, false, NULL},
    {"connect", FIELD_ARRAY, offsetof(struct tcp, connect), 0, PORTS_MAX, false, NULL},
    {"comment", FIELD_STRING, offsetof(struct tcp, comment), 0, 1024, false, NULL},
};

/* Absolute, with no empty component and none that is `.` or `..`. */
static bool is_plain(const char *path)
{
    if (path[0] != '/' || strlen(path) > 255)
        return false;
    for (const char *part = path + 1; path[1]; part++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length <= 2 && strspn(part, ".") >= length))
            return false;
        part += length;
        if (!*part)
            return true;
    }
    return true;
}

static int check_path(void *context, const char *path, const char *field, struct error *err)
{
    (void)context;
    return is_plain(path) ? 0
                          : error_set_field(err, field,
                                            "expected an absolute path of at most 255 bytes, "
                                            "without `.`, `..` and needless slashes");
}

/* `context`: the names that there are. */
static int check_word(void *context, const char *word, const char *field, struct error *err)
{
    const char *const *names = context;
    char list[128] = "";

    for (; *names; names++) {
        size_t used = strlen(list);
        if (str_equal(*names, word))
            return 0;
        snprintf(list + used, sizeof(list) - used, "%s\"%s\"", used ? ", " : "", *names);
    }
    return error_set_field(err, field, "expected one of %s", list);
}

static int check_rule(const json_t *value, const char *prefix, struct error *err)
{
    struct rule rule = {0};
    char field[256];
    int r = fields_decode(value, rule_fields, ELEMENTS(rule_fields), prefix, &rule, err);

    snprintf(field, sizeof(field), "%spaths", prefix);
    if (r == 0)
        r = strings_each(rule.paths, field, check_path, NULL, err);
    snprintf(field, sizeof(field), "%saccess", prefix);
    return r == 0 ? strings_each(rule.access, field, check_word, (void *)landlock_accesses, err)
                  : r;
}

static int check_rules(const json_t *rules, const char *name, struct error *err)
{
    char prefix[64];
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_array_size(rules); i++) {
        snprintf(prefix, sizeof(prefix), "landlock.%s[%zu].", name, i);
        r = check_rule(json_array_get(rules, i), prefix, err);
    }
    return r;
}

static int check_ports(const json_t *ports, const char *name, struct error *err)
{
    char field[64];

    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        if (json_is_integer(port) && json_integer_value(port) >= 0 &&
            json_integer_value(port) <= 65535)
            continue;
        snprintf(field, sizeof(field), "landlock.tcp.%s[%zu]", name, i);
        return error_set_field(err, field, "expected a port, 0 to 65535");
    }
    return 0;
}

static int check_tcp(const json_t *value, struct error *err)
{
    struct tcp tcp = {0};
    int r = value
                ? fields_decode(value, tcp_fields, ELEMENTS(tcp_fields), "landlock.tcp.", &tcp, err)
                : 0;

    if (r == 0)
        r = check_ports(tcp.bind, "bind", err);
    return r == 0 ? check_ports(tcp.connect, "connect", err) : r;
}

int landlock_profile_check(const json_t *landlock, struct error *err)
{
    struct section section = {0};

    if (!landlock)
        return 0;
    int r = fields_decode(landlock, section_fields, ELEMENTS(section_fields), "landlock.", &section,
                          err);
    if (r == 0)
        r = check_rules(section.sandbox, "sandbox", err);
    if (r == 0)
        r = check_rules(section.user, "user", err);
    if (r == 0)
        r = strings_each(section.scopes, "landlock.scopes", check_word, (void *)landlock_scopes,
                         err);
    return r == 0 ? check_tcp(section.tcp, err) : r;
}
