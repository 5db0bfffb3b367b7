/* A JWK set (RFC 7517) as text. */
#pragma once

#include "base/error.h"

#include <rhonabwy.h>

/* r_global_init must have been called. -EINVAL unless at least one key of it can check RS256 or
 * ES256; keys of other kinds do no harm. */
int jwks_parse(const char *text, jwks_t **ret_keys, struct error *err);
