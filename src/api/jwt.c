/* Theory of operation: see jwt.h. librhonabwy parses and checks the signature, told to take nothing
 * from the header; the claims are checked here. */
#include "api/jwt.h"

#include "api/route.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/jwks.h"
#include "base/str.h"

#include <errno.h>
#include <rhonabwy.h>
#include <string.h>

#define SKEW_S     60
#define FOREVER_MS 1e14 /* the year 5138 */
#define SECRET_MIN 32   /* bytes; RFC 7518, 3.2: at least the hash's length */

struct jwt {
    jwk_t *secret; /* NULL: HS256 is refused */
    jwk_t *own;    /* of the accounts' tokens; NULL: they are refused */
    jwks_t *keys;  /* NULL: RS256 and ES256 are refused */
    bool fetched;  /* ... which come later */
    char *issuer, *audience;
    void (*unknown)(void *userdata); /* NULL: nobody wants to know */
    void *userdata;
};

static void cleanup_jwt(jwt_t **token)
{
    r_jwt_free(*token);
}

static void cleanup_jwk(jwk_t **key)
{
    r_jwk_free(*key);
}

static int import_symmetric(jwk_t **key, const void *bytes, size_t length, struct error *err)
{
    if (r_jwk_init(key) != RHN_OK || r_jwk_import_from_symmetric_key(*key, bytes, length) != RHN_OK)
        return error_oom(err);
    return 0;
}

static int take_secret(struct jwt *jwt, const char *secret, struct error *err)
{
    if (!*secret)
        return 0;
    if (strlen(secret) < SECRET_MIN)
        return error_set_field(err, "auth.jwt_secret", "expected at least %d bytes", SECRET_MIN);
    return import_symmetric(&jwt->secret, secret, strlen(secret), err);
}

static int take_keys(struct jwt *jwt, const char *text, struct error *err)
{
    jwks_t *keys = NULL;
    int r = jwks_parse(text, &keys, err);

    if (r < 0) {
        if (err)
            snprintf(err->field, sizeof(err->field), "auth.jwks_url");
        return r;
    }
    r_jwks_free(jwt->keys);
    jwt->keys = keys;
    return 0;
}

int jwt_read_keys(struct jwt *jwt, int fd, struct error *err)
{
    cleanup_free char *text = NULL;
    int r = memfd_read(fd, JWKS_BYTES_MAX, &text, err);

    return r == 0 ? take_keys(jwt, text, err) : error_prefix(err, "auth.jwks_url");
}

void jwt_on_unknown_key(struct jwt *jwt, void (*unknown)(void *userdata), void *userdata)
{
    jwt->unknown = unknown;
    jwt->userdata = userdata;
}

int jwt_new(const struct config *config, struct jwt **ret_jwt, struct error *err)
{
    struct jwt *jwt = calloc(1, sizeof(*jwt));

    if (!jwt || r_global_init() != RHN_OK) {
        free(jwt);
        return error_oom(err);
    }
    int r = take_secret(jwt, config->auth_jwt_secret, err);
    jwt->fetched = str_starts(config->auth_jwks_url, "http");
    if (r == 0 && config->auth_jwks)
        r = take_keys(jwt, config->auth_jwks, err);
    jwt->issuer = strdup(config->auth_issuer);
    jwt->audience = strdup(config->auth_audience);
    if (r == 0 && (!jwt->issuer || !jwt->audience))
        r = error_oom(err);
    if (r < 0) {
        jwt_free(jwt);
        return r;
    }
    *ret_jwt = jwt;
    return 0;
}

void jwt_free(struct jwt *jwt)
{
    if (!jwt)
        return;
    r_jwk_free(jwt->secret);
    r_jwk_free(jwt->own);
    r_jwks_free(jwt->keys);
    free(jwt->issuer);
    free(jwt->audience);
    free(jwt);
    r_global_close();
}

int jwt_set_own_key(struct jwt *jwt, const void *key, size_t length, struct error *err)
{
    return import_symmetric(&jwt->own, key, length, err);
}

bool jwt_looks_like(const char *token)
{
    const char *first = strchr(token, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;

    return str_starts(token, "eyJ") && second && !strchr(second + 1, '.');
}

static int refuse(struct error *err, const char *why)
{
    return error_set_code(err, EACCES, "unauthenticated", "the JWT %s", why);
}

static const struct {
    jwa_alg algorithm;
    int key_type; /* that its keys must have; 0: the secret */
} algorithms[] = {
    {R_JWA_ALG_HS256, 0},
    {R_JWA_ALG_RS256, R_KEY_TYPE_RSA},
    {R_JWA_ALG_ES256, R_KEY_TYPE_EC},
};

/* Signed by this key? */
static bool is_signed_by(jwt_t *token, jwk_t *key, int key_type)
{
    unsigned int bits = 0;

    if (key_type && !(r_jwk_key_type(key, &bits, R_FLAG_IGNORE_REMOTE) & key_type))
        return false;
    return r_jwt_verify_signature(token, key, R_FLAG_IGNORE_REMOTE) == RHN_OK;
}

static bool is_signed_by_set(const struct jwt *jwt, jwt_t *token, int key_type)
{
    const char *kid = r_jwt_get_header_str_value(token, "kid");
    bool known = !kid;

    for (size_t i = 0; i < r_jwks_size(jwt->keys); i++) {
        __attribute__((cleanup(cleanup_jwk))) jwk_t *key = r_jwks_get_at(jwt->keys, i);
        const char *name = key ? r_jwk_get_property_str(key, "kid") : NULL;
        known = known || str_equal(kid, name);
        if (key && (!kid || !name || str_equal(kid, name)) && is_signed_by(token, key, key_type))
            return true;
    }
    if (!known && jwt->unknown)
        jwt->unknown(jwt->userdata);
    return false;
}

static int check_signature(const struct jwt *jwt, jwt_t *token, struct error *err)
{
    jwa_alg algorithm = r_jwt_get_sign_alg(token);

    for (size_t i = 0; i < ELEMENTS(algorithms); i++) {
        if (algorithms[i].algorithm != algorithm)
            continue;
        int type = algorithms[i].key_type;
        if (type ? !jwt->keys : !jwt->secret)
            return refuse(err, !type          ? "needs [auth] jwt_secret"
                               : jwt->fetched ? "needs the keys of [auth] jwks_url, which have not "
                                                "come yet"
                                              : "needs [auth] jwks_url");
        bool good = type ? is_signed_by_set(jwt, token, type) : is_signed_by(token, jwt->secret, 0);
        return good ? 0 : refuse(err, "has a signature of no key that is known here");
    }
    return refuse(err, "is signed with an algorithm other than HS256, RS256 or ES256");
}

/* The issuer decides on the key, before anything else is believed. */
static bool is_own(jwt_t *token)
{
    return str_equal(r_jwt_get_claim_str_value(token, "iss"), JWT_OWN_ISSUER);
}

static int check_own_signature(const struct jwt *jwt, jwt_t *token, struct error *err)
{
    if (r_jwt_get_sign_alg(token) != R_JWA_ALG_HS256)
        return refuse(err, "is signed with an algorithm other than HS256");
    if (!jwt->own || !is_signed_by(token, jwt->own, 0))
        return refuse(err, "has a signature of no key that is known here");
    return 0;
}

static int check_times(const json_t *claims, int64_t now_s, struct error *err)
{
    const json_t *expiry = json_object_get(claims, "exp");
    const json_t *not_before = json_object_get(claims, "nbf");
    const json_t *issued = json_object_get(claims, "iat");

    if (!json_is_number(expiry))
        return refuse(err, "has no expiry (`exp`)");
    if (json_number_value(expiry) + SKEW_S <= (double)now_s)
        return refuse(err, "has expired");
    if (not_before && json_number_value(not_before) - SKEW_S > (double)now_s)
        return refuse(err, "is not valid yet (`nbf`)");
    if (issued && json_number_value(issued) - SKEW_S > (double)now_s)
        return refuse(err, "was issued in the future (`iat`)");
    return 0;
}

static int64_t expires_ms(const json_t *claims)
{
    double ms = (json_number_value(json_object_get(claims, "exp")) + SKEW_S) * 1000;

    return ms < FOREVER_MS ? (int64_t)ms : INT64_MAX;
}

static bool has_audience(const json_t *claims, const char *audience)
{
    const json_t *value = json_object_get(claims, "aud");

    for (size_t i = 0; i < json_array_size(value); i++)
        if (str_equal(json_string_value(json_array_get(value, i)), audience))
            return true;
    return str_equal(json_string_value(value), audience);
}

static int check_parties(const struct jwt *jwt, const json_t *claims, bool own, struct error *err)
{
    if (own)
        return has_audience(claims, JWT_OWN_ISSUER)
                   ? 0
                   : refuse(err, "is for another audience (`aud`)");
    if (*jwt->issuer && !str_equal(json_string_value(json_object_get(claims, "iss")), jwt->issuer))
        return refuse(err, "is of another issuer (`iss`)");
    if (*jwt->audience && !has_audience(claims, jwt->audience))
        return refuse(err, "is for another audience (`aud`)");
    return 0;
}

static const struct {
    const char *role;
    unsigned int scopes;
} roles[] = {
    {"authenticated", SCOPE_SANDBOXES | SCOPE_READ},
    {"service_role", SCOPE_ADMIN | SCOPE_SANDBOXES | SCOPE_READ},
};

static int read_subject(const json_t *claims, struct jwt_claims *ret_claims, struct error *err)
{
    const char *subject = json_string_value(json_object_get(claims, "sub"));
    const char *role = json_string_value(json_object_get(claims, "role"));
    unsigned int scopes = role ? 0 : roles[0].scopes;

    for (size_t i = 0; role && i < ELEMENTS(roles); i++)
        if (str_equal(role, roles[i].role))
            scopes = roles[i].scopes;
    if (!scopes)
        return refuse(err, "has a role that may do nothing here (`role`)");
    if (!subject && !(scopes & SCOPE_ADMIN))
        return refuse(err, "names no subject (`sub`)");
    if (subject && (!*subject || strlen(subject) > OWNER_MAX))
        return refuse(err, "has an empty or overlong subject (`sub`)");
    snprintf(ret_claims->owner, sizeof(ret_claims->owner), "%s", subject ? subject : "");
    ret_claims->scopes = scopes;
    ret_claims->epoch = json_integer_value(json_object_get(claims, "epoch"));
    return 0;
}

int jwt_verify(struct jwt *jwt, const char *token, int64_t now_ms, struct jwt_claims *ret_claims,
               struct error *err)
{
    __attribute__((cleanup(cleanup_jwt))) jwt_t *parsed = NULL;

    if (strlen(token) >= JWT_TEXT_MAX)
        return refuse(err, "is too long");
    if (r_jwt_init(&parsed) != RHN_OK)
        return error_oom(err);
    if (r_jwt_advanced_parse(parsed, token, R_PARSE_NONE, R_FLAG_IGNORE_REMOTE) != RHN_OK)
        return refuse(err, "is malformed, or not signed");
    bool own = is_own(parsed);
    int r = own ? check_own_signature(jwt, parsed, err) : check_signature(jwt, parsed, err);
    cleanup_json json_t *claims = r == 0 ? r_jwt_get_full_claims_json_t(parsed) : NULL;
    if (r == 0)
        r = check_times(claims, now_ms / 1000, err);
    if (r == 0)
        r = check_parties(jwt, claims, own, err);
    ret_claims->account = own;
    ret_claims->expires_ms = r == 0 ? expires_ms(claims) : 0;
    return r == 0 ? read_subject(claims, ret_claims, err) : r;
}

char *jwt_issue(const struct jwt *jwt, const char *account, int64_t epoch, int64_t now_s,
                int64_t expires_s, struct error *err)
{
    __attribute__((cleanup(cleanup_jwt))) jwt_t *token = NULL;
    cleanup_json json_t *claims =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "iss", JWT_OWN_ISSUER, "aud",
                  JWT_OWN_ISSUER, "sub", account, "role", roles[0].role, "iat", (json_int_t)now_s,
                  "exp", (json_int_t)expires_s, "epoch", (json_int_t)epoch);
    char *text = NULL;

    if (claims && jwt->own && r_jwt_init(&token) == RHN_OK &&
        r_jwt_set_sign_alg(token, R_JWA_ALG_HS256) == RHN_OK &&
        r_jwt_set_full_claims_json_t(token, claims) == RHN_OK)
        text = r_jwt_serialize_signed(token, jwt->own, 0);
    if (!text)
        error_set(err, EIO, "a token cannot be made");
    return text;
}
