/* Schema-checked decoding: a JSON object against a table of fields, into a plain struct.
 *
 *     struct params { const char *name; int64_t port; bool tty; };
 *     static const struct field fields[] = {
 *         {"name", FIELD_STRING, offsetof(struct params, name), .min = 1, .max = 64, .required =
 * true},
 *         {"port", FIELD_INT, offsetof(struct params, port), .min = 1, .max = 65535},
 *         {"tty", FIELD_BOOL, offsetof(struct params, tty)},
 *     };
 *
 * Fields not in the table, wrong types and values out of bounds are refused with the field's dotted
 * path, what was expected and the limit. Optional fields that are absent (or JSON null) leave the
 * struct as the caller initialised it. Strings, arrays and objects are borrowed from the JSON
 * value. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type {
    FIELD_STRING,       /* const char *; min/max are bytes (max 0: 4096); no NUL inside */
    FIELD_INT,          /* int64_t; min..max (both 0: any) */
    FIELD_REAL,         /* double (integers accepted); min..max */
    FIELD_BOOL,         /* bool */
    FIELD_OBJECT,       /* json_t *, any members */
    FIELD_ARRAY,        /* json_t *; min/max are elements */
    FIELD_STRING_ARRAY, /* json_t * of strings; min/max are elements (max 0: 4096) */
    FIELD_STRING_MAP,   /* json_t * object of strings; min/max are members (max 0: 256) */
    FIELD_CHOICE,       /* const char * out of `choices` */
    FIELD_SANDBOX_ID,   /* const char *, 12 characters of [a-z2-7] */
    FIELD_ANY,          /* json_t *, unchecked */
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    int64_t min, max;
    bool required;
    const char *const *choices; /* NULL-terminated, for FIELD_CHOICE */
};

/* `prefix` ("" or "limits.") goes before field names in errors. */
int fields_decode(const json_t *object, const struct field *fields, size_t n_fields,
                  const char *prefix, void *ret_struct, struct error *err);
