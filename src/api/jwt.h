/* JSON Web Tokens (RFC 7519) of an issuer that the configuration names: HS256 with [auth]
 * jwt_secret (Supabase's default), RS256 and ES256 with the keys of [auth] jwks_url. Which kind of
 * key a token may be checked with follows from its algorithm alone, so a public key is never taken
 * for a secret; what a token's header says of keys and where to find them is not looked at; `none`
 * and every other algorithm are refused.
 *
 * Tokens of built-in accounts have the issuer JWT_OWN_ISSUER and HS256 with a key that no other
 * token is checked with: whoever may sign with [auth] jwt_secret cannot make one, nor may an
 * account's token pass for one of the configured issuer. */
#pragma once

#include "api/api.h"
#include "base/error.h"

#include <stdbool.h>

#define JWT_TEXT_MAX 8192

#define JWT_OWN_ISSUER CONFIG_OWN_ISSUER /* and audience */

struct jwt;

/* What a good token says. */
struct jwt_claims {
    char owner[OWNER_MAX + 1];
    unsigned int scopes;
    int64_t expires_ms; /* since 1970, when it is refused; INT64_MAX: in centuries */
    bool
        account; /* of a built-in account: `owner` is its id, `epoch` to be compared with today's */
    int64_t epoch;
};

/* The keys of the configuration. An error names the setting. */
int jwt_new(const struct config *config, struct jwt **ret_jwt, struct error *err);
void jwt_free(struct jwt *jwt);

/* Other keys of [auth] jwks_url, as a whole, from a sealed memfd. A bad set changes nothing. */
int jwt_read_keys(struct jwt *jwt, int fd, struct error *err);

/* Called for a token whose `kid` no key of the set has. */
void jwt_on_unknown_key(struct jwt *jwt, void (*unknown)(void *userdata), void *userdata);

/* The key of the accounts' tokens; without one none is made and all are refused. */
int jwt_set_own_key(struct jwt *jwt, const void *key, size_t length, struct error *err);

/* A token for an account that expires at a second since 1970. NULL: see `err`. */
char *jwt_issue(const struct jwt *jwt, const char *account, int64_t epoch, int64_t now_s,
                int64_t expires_s, struct error *err);

/* Whether it has a JWT's form rather than an API key's. */
bool jwt_looks_like(const char *token);

/* Checks signature, `exp` (required), `nbf`, `iat` (60 s of clock skew are allowed), `iss` and
 * `aud` where they are configured. The owner is `sub`. Scopes by `role`: service_role is an admin,
 * authenticated or none may use sandboxes, anything else (Supabase's anon) is refused. */
int jwt_verify(struct jwt *jwt, const char *token, int64_t now_ms, struct jwt_claims *ret_claims,
               struct error *err);
