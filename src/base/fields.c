/* Theory of operation: see fields.h. One check function a type, in a table indexed by the type. */
#include "base/fields.h"

#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct place {
    const char *path; /* dotted path for messages */
    const struct field *field;
    void *target;
    struct error *err;
};

static int expected(const struct place *place, const char *what)
{
    return error_set_field(place->err, place->path, "expected %s", what);
}

static int check_string(const struct place *place, json_t *value)
{
    size_t max = place->field->max ? (size_t)place->field->max : 4096;

    if (!json_is_string(value))
        return expected(place, "a string");
    size_t length = json_string_length(value);
    if (strlen(json_string_value(value)) != length)
        return expected(place, "a string without NUL bytes");
    if (length < (size_t)place->field->min || length > max)
        return error_set_field(place->err, place->path, "expected %lld to %zu bytes, got %zu",
                               (long long)place->field->min, max, length);
    *(const char **)place->target = json_string_value(value);
    return 0;
}

static int check_int(const struct place *place, json_t *value)
{
    const struct field *field = place->field;
    bool bounded = field->min || field->max;

    if (!json_is_integer(value))
        return expected(place, "an integer");
    json_int_t number = json_integer_value(value);
    if (bounded && (number < field->min || number > field->max))
        return error_set_field(place->err, place->path, "expected %lld to %lld, got %lld",
                               (long long)field->min, (long long)field->max, (long long)number);
    *(int64_t *)place->target = number;
    return 0;
}

static int check_real(const struct place *place, json_t *value)
{
    const struct field *field = place->field;

    if (!json_is_number(value))
        return expected(place, "a number");
    double number = json_number_value(value);
    if (number < (double)field->min || number > (double)field->max)
        return error_set_field(place->err, place->path, "expected %lld to %lld, got %g",
                               (long long)field->min, (long long)field->max, number);
    *(double *)place->target = number;
    return 0;
}

static int check_bool(const struct place *place, json_t *value)
{
    if (!json_is_boolean(value))
        return expected(place, "true or false");
    *(bool *)place->target = json_is_true(value);
    return 0;
}

static int check_object(const struct place *place, json_t *value)
{
    if (!json_is_object(value))
        return expected(place, "an object");
    *(json_t **)place->target = value;
    return 0;
}

static int check_count(const struct place *place, size_t count, size_t default_max)
{
    size_t max = place->field->max ? (size_t)place->field->max : default_max;

    if (count < (size_t)place->field->min || count > max)
        return error_set_field(place->err, place->path, "expected %lld to %zu members, got %zu",
                               (long long)place->field->min, max, count);
    return 0;
}

static int check_array(const struct place *place, json_t *value)
{
    if (!json_is_array(value))
        return expected(place, "an array");
    int r = check_count(place, json_array_size(value), 4096);
    if (r == 0)
        *(json_t **)place->target = value;
    return r;
}

static bool is_c_string(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static int check_string_array(const struct place *place, json_t *value)
{
    json_t *member;
    size_t i;

    if (!json_is_array(value))
        return expected(place, "an array of strings");
    json_array_foreach(value, i, member) if (!is_c_string(member)) return expected(
        place, "an array of strings without NUL bytes");
    return check_array(place, value);
}

static int check_string_map(const struct place *place, json_t *value)
{
    json_t *member;
    const char *key;

    if (!json_is_object(value))
        return expected(place, "an object of strings");
    json_object_foreach(value, key, member) if (!is_c_string(member)) return error_set_field(
        place->err, place->path, "member `%.64s`: expected a string without NUL bytes", key);
    int r = check_count(place, json_object_size(value), 256);
    if (r == 0)
        *(json_t **)place->target = value;
    return r;
}

static int check_choice(const struct place *place, json_t *value)
{
    const char *text = json_string_value(value);
    char list[256] = "";

    for (const char *const *choice = place->field->choices; *choice; choice++) {
        if (str_equal(text, *choice)) {
            *(const char **)place->target = *choice;
            return 0;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s\"%s\"", used ? ", " : "", *choice);
    }
    return error_set_field(place->err, place->path, "expected one of %s", list);
}

static int check_sandbox_id(const struct place *place, json_t *value)
{
    const char *text = json_string_value(value);

    if (!text || !sandbox_id_valid(text))
        return expected(place, "a sandbox id (12 characters of a-z and 2-7)");
    *(const char **)place->target = text;
    return 0;
}

static int check_any(const struct place *place, json_t *value)
{
    *(json_t **)place->target = value;
    return 0;
}

static int (*const checks[])(const struct place *place, json_t *value) = {
    [FIELD_STRING] = check_string,
    [FIELD_INT] = check_int,
    [FIELD_REAL] = check_real,
    [FIELD_BOOL] = check_bool,
    [FIELD_OBJECT] = check_object,
    [FIELD_ARRAY] = check_array,
    [FIELD_STRING_ARRAY] = check_string_array,
    [FIELD_STRING_MAP] = check_string_map,
    [FIELD_CHOICE] = check_choice,
    [FIELD_SANDBOX_ID] = check_sandbox_id,
    [FIELD_ANY] = check_any,
};

static const struct field *find_field(const struct field *fields, size_t n_fields, const char *name)
{
    for (size_t i = 0; i < n_fields; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static int refuse_unknown(const json_t *object, const struct field *fields, size_t n_fields,
                          const char *prefix, struct error *err)
{
    const char *key;
    json_t *value;
    char path[96];

    json_object_foreach((json_t *)object, key, value)
    {
        if (find_field(fields, n_fields, key))
            continue;
        snprintf(path, sizeof(path), "%s%.64s", prefix, key);
        error_set_field(err, path, "unknown field");
        if (err)
            snprintf(err->code, sizeof(err->code), "unknown_field");
        return -EINVAL;
    }
    return 0;
}

static int decode_one(const json_t *object, const struct field *field, const char *prefix,
                      void *ret_struct, struct error *err)
{
    char path[96];
    json_t *value = json_object_get(object, field->name);

    snprintf(path, sizeof(path), "%s%s", prefix, field->name);
    if (!value || json_is_null(value))
        return field->required ? error_set_field(err, path, "is required") : 0;
    struct place place = {path, field, (char *)ret_struct + field->offset, err};
    return checks[field->type](&place, value);
}

int fields_decode(const json_t *object, const struct field *fields, size_t n_fields,
                  const char *prefix, void *ret_struct, struct error *err)
{
    if (!json_is_object(object))
        return error_set(err, EINVAL, "expected a JSON object");
    int r = refuse_unknown(object, fields, n_fields, prefix, err);
    for (size_t i = 0; r == 0 && i < n_fields; i++)
        r = decode_one(object, &fields[i], prefix, ret_struct, err);
    return r;
}
