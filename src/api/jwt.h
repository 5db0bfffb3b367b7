/* JSON Web Tokens (RFC 7519) of an issuer that the configuration names: HS256 with [auth]
 * jwt_secret (Supabase's default), RS256 and ES256 with the keys of [auth] jwks_url. Which kind of
 * key a token may be checked with follows from its algorithm alone, so a public key is never taken
 * for a secret; what a token's header says of keys and where to find them is not looked at; `none`
 * and every other algorithm are refused. */
#pragma once

#include "api/api.h"
#include "base/error.h"

#include <stdbool.h>

#define JWT_TEXT_MAX 8192

struct jwt;

/* The keys of the configuration. An error names the setting. */
int jwt_new(const struct config *config, struct jwt **ret_jwt, struct error *err);
void jwt_free(struct jwt *jwt);

/* Whether it has a JWT's form rather than an API key's. */
bool jwt_looks_like(const char *token);

/* Checks signature, `exp` (required), `nbf`, `iat` (60 s of clock skew are allowed), `iss` and
 * `aud` where they are configured. The owner is `sub`. Scopes by `role`: service_role is an admin,
 * authenticated or none may use sandboxes, anything else (Supabase's anon) is refused. */
int jwt_verify(struct jwt *jwt, const char *token, int64_t now_ms, char ret_owner[OWNER_MAX + 1],
               unsigned int *ret_scopes, struct error *err);
