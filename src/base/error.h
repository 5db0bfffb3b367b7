/* The error object: what failed, as an errno, a stable machine-readable code and a sentence.
 *
 * Every fallible function takes a `struct error *` last and returns a negative errno. The message
 * names the step and the path (`openat2 /app/x: Permission denied`). The object travels unchanged
 * from the sandbox's init to the REST client, so nobody has to guess which layer refused.
 * A NULL error pointer is allowed everywhere: the return value alone then tells. */
#pragma once

#include <jansson.h>
#include <stddef.h>

struct error {
    int err;           /* positive errno, 0 = no error */
    char code[48];     /* stable identifier, e.g. "sandbox_not_found" */
    char field[96];    /* dotted path of the offending input field, or "" */
    char message[640]; /* one sentence for people */
};

#define ERROR_NONE ((struct error){0})

/* Sets the error with the default code of the errno (ENOENT: "not_found", EINVAL: "invalid", ...).
 * `errnum` may have either sign. Returns the negative errno. Does not append strerror. */
int error_set(struct error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Same, and appends ": <strerror>" to the message: for failed system calls. */
int error_sys(struct error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Same as error_set with an explicit code. */
int error_set_code(struct error *err, int errnum, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* -EINVAL with code "invalid_field"; `field` is the dotted path of the input field. The message
 * is prefixed with "field `x`: ". */
int error_set_field(struct error *err, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* -ENOMEM. */
int error_oom(struct error *err);

/* Prefixes the message of a set error: "step: message". Returns the negative errno. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* {"errno":2,"code":"…","message":"…","field":"…"}; new reference or NULL when out of memory. */
json_t *error_to_json(const struct error *err);

/* Reads what error_to_json wrote; the text is clipped and anything malformed becomes EPROTO.
 * Returns the negative errno of the error read. */
int error_from_json(struct error *err, const json_t *value);
