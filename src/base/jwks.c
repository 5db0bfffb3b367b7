/* Theory of operation: see jwks.h. Nothing that a key refers to is fetched. */
#include "base/jwks.h"

#include <errno.h>
#include <stdbool.h>

static bool is_usable(jwks_t *keys, size_t i)
{
    jwk_t *key = r_jwks_get_at(keys, i);
    unsigned int bits = 0;
    int type = key ? r_jwk_key_type(key, &bits, R_FLAG_IGNORE_REMOTE) : R_KEY_TYPE_NONE;

    r_jwk_free(key);
    return type & (R_KEY_TYPE_RSA | R_KEY_TYPE_EC);
}

int jwks_parse(const char *text, jwks_t **ret_keys, struct error *err)
{
    jwks_t *keys = NULL;
    size_t usable = 0;

    if (r_jwks_init(&keys) != RHN_OK)
        return error_oom(err);
    if (r_jwks_import_from_json_str(keys, text) == RHN_OK)
        for (size_t i = 0; i < r_jwks_size(keys); i++)
            usable += is_usable(keys, i);
    if (usable == 0) {
        r_jwks_free(keys);
        return error_set(err, EINVAL, "expected a JWK set with at least one usable key");
    }
    *ret_keys = keys;
    return 0;
}
