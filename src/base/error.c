/* Theory of operation: see error.h. Formatting never allocates, so that an out-of-memory error can
 * be reported like any other. */
#include "base/error.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int err;
    const char *code;
} default_codes[] = {
    {EINVAL, "invalid"},
    {ENOENT, "not_found"},
    {EACCES, "refused"},
    {EPERM, "refused"},
    {EEXIST, "exists"},
    {EBUSY, "conflict"},
    {E2BIG, "too_large"},
    {EFBIG, "too_large"},
    {EMSGSIZE, "too_large"},
    {EAGAIN, "unavailable"},
    {ENOSPC, "no_space"},
    {EDQUOT, "no_space"},
    {ETIMEDOUT, "timeout"},
    {ENOMEM, "no_memory"},
    {EXDEV, "path_outside_project"},
    {EOPNOTSUPP, "unsupported"},
    {EPROTO, "protocol"},
    {ENOTDIR, "not_a_directory"},
    {EISDIR, "is_a_directory"},
    {ENOTEMPTY, "not_empty"},
    {ELOOP, "path_outside_project"},
    {ENAMETOOLONG, "path_too_long"},
    {ECONNRESET, "disconnected"},
    {ESRCH, "process_not_found"},
};

static const char *default_code(int err)
{
    for (size_t i = 0; i < ELEMENTS(default_codes); i++)
        if (default_codes[i].err == err)
            return default_codes[i].code;
    return "internal";
}

static void clip(char *target, size_t size, const char *source)
{
    snprintf(target, size, "%s", source ? source : "");
}

static int set_va(struct error *err, int errnum, const char *code, const char *field,
                  const char *format, va_list arguments)
{
    int positive = errnum < 0 ? -errnum : errnum;

    if (positive == 0)
        positive = EIO;
    if (!err)
        return -positive;
    err->err = positive;
    clip(err->code, sizeof(err->code), code ? code : default_code(positive));
    clip(err->field, sizeof(err->field), field);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    return -positive;
}

int error_set(struct error *err, int errnum, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int r = set_va(err, errnum, NULL, NULL, format, arguments);
    va_end(arguments);
    return r;
}

static void append(struct error *err, const char *text)
{
    if (!err)
        return;
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, "%s", text);
}

int error_sys(struct error *err, int errnum, const char *format, ...)
{
    va_list arguments;
    char reason[128];

    va_start(arguments, format);
    int r = set_va(err, errnum, NULL, NULL, format, arguments);
    va_end(arguments);
    append(err, ": ");
    append(err, strerror_r(-r, reason, sizeof(reason)));
    return r;
}

int error_set_code(struct error *err, int errnum, const char *code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int r = set_va(err, errnum, code, NULL, format, arguments);
    va_end(arguments);
    return r;
}

int error_set_field(struct error *err, const char *field, const char *format, ...)
{
    va_list arguments;
    char sentence[512];

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    if (!err)
        return -EINVAL;
    error_set_code(err, EINVAL, "invalid_field", "field `%s`: %s", field, sentence);
    clip(err->field, sizeof(err->field), field);
    return -EINVAL;
}

int error_oom(struct error *err)
{
    return error_set(err, ENOMEM, "out of memory");
}

int error_prefix(struct error *err, const char *format, ...)
{
    va_list arguments;
    char step[256], old[sizeof(err->message)];

    if (!err)
        return -EIO;
    va_start(arguments, format);
    vsnprintf(step, sizeof(step), format, arguments);
    va_end(arguments);
    clip(old, sizeof(old), err->message);
    if ((size_t)snprintf(err->message, sizeof(err->message), "%s: %s", step, old) >=
        sizeof(err->message))
        memcpy(err->message + sizeof(err->message) - 4, "...", 4);
    return -err->err;
}

json_t *error_to_json(const struct error *err)
{
    json_t *value = json_pack("{s:i, s:s, s:s%}", "errno", err->err, "code", err->code, "message",
                              err->message, strlen(err->message));

    if (!value) /* the message held bytes that are not UTF-8, e.g. from a hostile path */
        value = json_pack("{s:i, s:s, s:s}", "errno", err->err, "code", err->code, "message",
                          "the message was not valid UTF-8");
    if (value && err->field[0])
        json_object_set_new(value, "field", json_string(err->field));
    return value;
}

int error_from_json(struct error *err, const json_t *value)
{
    const char *code = json_string_value(json_object_get(value, "code"));
    const char *message = json_string_value(json_object_get(value, "message"));
    const char *field = json_string_value(json_object_get(value, "field"));
    json_int_t number = json_integer_value(json_object_get(value, "errno"));

    if (!code || !message || number <= 0 || number > 4095)
        return error_set(err, EPROTO, "malformed error object in a reply");
    if (!err)
        return -(int)number;
    err->err = (int)number;
    clip(err->code, sizeof(err->code), code);
    clip(err->message, sizeof(err->message), message);
    clip(err->field, sizeof(err->field), field);
    return -err->err;
}
