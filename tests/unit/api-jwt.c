/* JWTs: what is accepted, and every way of forging one that is known from other products. Tokens
 * are signed by the same library, with keys made here. */
#include "api/jwt.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <rhonabwy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S  1700000000
#define SECRET "0123456789abcdef0123456789abcdef"

struct world {
    struct config config;
    struct jwt *jwt;
    jwk_t *rsa, *rsa_public, *ec, *ec_public, *stranger, *stranger_public, *secret;
};

static void make_pair(jwk_t **key, jwk_t **public, int type, unsigned int bits, const char *kid)
{
    assert_int_equal(r_jwk_init(key), RHN_OK);
    assert_int_equal(r_jwk_init(public), RHN_OK);
    assert_int_equal(r_jwk_generate_key_pair(*key, *public, type, bits, kid), RHN_OK);
}

static char *key_set(const struct world *world)
{
    json_t *set = json_pack("{s:[o, o]}", "keys", r_jwk_export_to_json_t(world->rsa_public),
                            r_jwk_export_to_json_t(world->ec_public));
    char *text = json_dumps(set, 0);

    json_decref(set);
    return text;
}

static int set_up(void **state)
{
    static struct world world;

    world = (struct world){.jwt = NULL};
    make_pair(&world.rsa, &world.rsa_public, R_KEY_TYPE_RSA, 2048, "r1");
    make_pair(&world.ec, &world.ec_public, R_KEY_TYPE_EC, 256, "e1");
    make_pair(&world.stranger, &world.stranger_public, R_KEY_TYPE_RSA, 2048, "r1");
    r_jwk_init(&world.secret);
    r_jwk_import_from_symmetric_key(world.secret, (const unsigned char *)SECRET, strlen(SECRET));
    assert_int_equal(config_init(&world.config, NULL), 0);
    assert_int_equal(config_set(&world.config, "auth", "jwt_secret", SECRET, NULL), 0);
    assert_int_equal(config_set(&world.config, "auth", "issuer", "https://id.example", NULL), 0);
    assert_int_equal(config_set(&world.config, "auth", "audience", "authenticated", NULL), 0);
    world.config.auth_jwks = key_set(&world);
    *state = &world;
    return jwt_new(&world.config, &world.jwt, NULL);
}

static int tear_down(void **state)
{
    struct world *world = *state;
    jwk_t *keys[] = {world->rsa,      world->rsa_public,      world->ec,    world->ec_public,
                     world->stranger, world->stranger_public, world->secret};

    for (size_t i = 0; i < ELEMENTS(keys); i++)
        r_jwk_free(keys[i]);
    jwt_free(world->jwt);
    config_free(&world->config);
    return 0;
}

/* Stolen: `claims`. */
static char *sign(jwk_t *key, jwa_alg algorithm, const char *kid, json_t *claims)
{
    jwt_t *token;

    assert_non_null(claims);
    assert_int_equal(r_jwt_init(&token), RHN_OK);
    assert_int_equal(r_jwt_set_sign_alg(token, algorithm), RHN_OK);
    assert_int_equal(r_jwt_set_full_claims_json_t(token, claims), RHN_OK);
    if (kid)
        r_jwt_set_header_str_value(token, "kid", kid);
    char *text = r_jwt_serialize_signed(token, key, 0);
    r_jwt_free(token);
    json_decref(claims);
    assert_non_null(text);
    return text;
}

static json_t *good_claims(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "sub", "user-1", "iss", "https://id.example",
                     "aud", "authenticated", "role", "authenticated", "exp", NOW_S + 60, "iat",
                     NOW_S);
}

static json_t *with(const char *name, json_t *value)
{
    json_t *claims = good_claims();

    json_object_set_new(claims, name, value);
    return claims;
}

static json_t *without(const char *name)
{
    json_t *claims = good_claims();

    json_object_del(claims, name);
    return claims;
}

/* Takes `token`. */
static int verify(const struct world *world, char *token, unsigned int *ret_scopes,
                  struct error *err)
{
    cleanup_free char *text = token;
    struct jwt_claims claims;

    assert_true(jwt_looks_like(text));
    int r = jwt_verify(world->jwt, text, (int64_t)NOW_S * 1000, &claims, err);
    if (r == 0) {
        assert_string_equal(claims.owner, "user-1");
        assert_false(claims.account);
        *ret_scopes = claims.scopes;
    }
    return r;
}

static void assert_refused(const struct world *world, char *token, const char *why)
{
    struct error err = ERROR_NONE;
    unsigned int scopes;

    assert_true(verify(world, token, &scopes, &err) < 0);
    assert_string_equal(err.code, "unauthenticated");
    if (!strstr(err.message, why))
        fail_msg("`%s` does not tell of `%s`", err.message, why);
}

static void test_good(void **state)
{
    struct world *world = *state;
    unsigned int scopes = 0;
    struct {
        jwk_t *key;
        jwa_alg algorithm;
        const char *kid;
    } cases[] = {
        {world->secret, R_JWA_ALG_HS256, NULL}, {world->rsa, R_JWA_ALG_RS256, "r1"},
        {world->rsa, R_JWA_ALG_RS256, NULL},    {world->ec, R_JWA_ALG_ES256, "e1"},
        {world->ec, R_JWA_ALG_ES256, NULL},
    };

    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char *token = sign(cases[i].key, cases[i].algorithm, cases[i].kid, good_claims());
        assert_int_equal(verify(world, token, &scopes, NULL), 0);
        assert_int_equal(scopes, SCOPE_SANDBOXES | SCOPE_READ);
    }
    json_t *service = with("role", json_string("service_role"));
    char *token = sign(world->secret, R_JWA_ALG_HS256, NULL, service);
    assert_int_equal(verify(world, token, &scopes, NULL), 0);
    assert_true(scopes & SCOPE_ADMIN);
    token = sign(world->secret, R_JWA_ALG_HS256, NULL,
                 with("aud", json_pack("[s, s]", "x", "authenticated")));
    assert_int_equal(verify(world, token, &scopes, NULL), 0);
}

static void test_claims(void **state)
{
    struct world *world = *state;
    struct {
        json_t *claims;
        const char *why;
    } cases[] = {
        {without("exp"), "`exp`"},
        {with("exp", json_string("never")), "`exp`"},
        {with("exp", json_integer(NOW_S - 60)), "expired"},
        {with("nbf", json_integer(NOW_S + 61)), "`nbf`"},
        {with("iat", json_integer(NOW_S + 61)), "`iat`"},
        {without("iss"), "`iss`"},
        {with("iss", json_string("https://id.example.evil")), "`iss`"},
        {without("aud"), "`aud`"},
        {with("aud", json_string("anon")), "`aud`"},
        {with("aud", json_pack("[s]", "other")), "`aud`"},
        {without("sub"), "`sub`"},
        {with("sub", json_string("")), "`sub`"},
        {with("sub", json_integer(1)), "`sub`"},
        {with("role", json_string("anon")), "`role`"},
    };

    for (size_t i = 0; i < ELEMENTS(cases); i++)
        assert_refused(world, sign(world->secret, R_JWA_ALG_HS256, NULL, cases[i].claims),
                       cases[i].why);
}

/* Skew: up to a minute either way. */
static void test_skew(void **state)
{
    struct world *world = *state;
    unsigned int scopes;
    char *late = sign(world->secret, R_JWA_ALG_HS256, NULL, with("exp", json_integer(NOW_S - 59)));
    char *early = sign(world->secret, R_JWA_ALG_HS256, NULL, with("nbf", json_integer(NOW_S + 59)));

    assert_int_equal(verify(world, late, &scopes, NULL), 0);
    assert_int_equal(verify(world, early, &scopes, NULL), 0);
}

/* A public key, which everyone has, used as the secret of an HMAC. */
static void test_algorithm_confusion(void **state)
{
    struct world *world = *state;
    unsigned char pem[4096];
    size_t length = sizeof(pem);
    jwk_t *confused;

    assert_int_equal(r_jwk_export_to_pem_der(world->rsa_public, R_FORMAT_PEM, pem, &length, 0),
                     RHN_OK);
    r_jwk_init(&confused);
    r_jwk_import_from_symmetric_key(confused, pem, length);
    assert_refused(world, sign(confused, R_JWA_ALG_HS256, "r1", good_claims()), "no key");
    assert_refused(world, sign(confused, R_JWA_ALG_HS256, NULL, good_claims()), "no key");
    r_jwk_free(confused);
}

static void test_other_keys(void **state)
{
    struct world *world = *state;
    jwk_t *other;

    assert_refused(world, sign(world->stranger, R_JWA_ALG_RS256, "r1", good_claims()), "no key");
    assert_refused(world, sign(world->stranger, R_JWA_ALG_RS256, NULL, good_claims()), "no key");
    assert_refused(world, sign(world->rsa, R_JWA_ALG_RS256, "r2", good_claims()), "no key");
    assert_refused(world, sign(world->rsa, R_JWA_ALG_RS512, "r1", good_claims()), "algorithm");
    assert_refused(world, sign(world->secret, R_JWA_ALG_HS512, NULL, good_claims()), "algorithm");
    r_jwk_init(&other);
    r_jwk_import_from_symmetric_key(other, (const unsigned char *)"fedcba9876543210", 16);
    assert_refused(world, sign(other, R_JWA_ALG_HS256, NULL, good_claims()), "no key");
    r_jwk_free(other);
}

/* Keys that the token brings itself count for nothing. */
static void test_embedded_key(void **state)
{
    struct world *world = *state;
    jwt_t *token;

    r_jwt_init(&token);
    r_jwt_set_sign_alg(token, R_JWA_ALG_RS256);
    json_t *claims = good_claims(), *key = r_jwk_export_to_json_t(world->stranger_public);
    r_jwt_set_full_claims_json_t(token, claims);
    r_jwt_set_header_json_t_value(token, "jwk", key);
    char *text = r_jwt_serialize_signed(token, world->stranger, 0);
    r_jwt_free(token);
    json_decref(claims);
    json_decref(key);
    assert_refused(world, text, "no key");
}

static void test_unsigned(void **state)
{
    struct world *world = *state;
    /* {"alg":"none"} and {"alg":"None"}, with claims, without a signature and with a false one */
    static const char *const tokens[] = {
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyLTEiLCJleHAiOjE3MDAwMDAwNjB9.",
        "eyJhbGciOiJOb25lIn0.eyJzdWIiOiJ1c2VyLTEiLCJleHAiOjE3MDAwMDAwNjB9.",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyLTEiLCJleHAiOjE3MDAwMDAwNjB9.AAAA",
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJIUzI1NiJ9..",
    };

    for (size_t i = 0; i < ELEMENTS(tokens); i++)
        assert_refused(world, strdup(tokens[i]), "the JWT ");
    assert_false(jwt_looks_like("ak_abc"));
    assert_false(jwt_looks_like("eyJ.a"));
    assert_false(jwt_looks_like("eyJ.a.b.c"));
}

#define OWN_KEY "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static json_t *account_claims(void)
{
    json_t *claims = with("iss", json_string(JWT_OWN_ISSUER));

    json_object_set_new(claims, "aud", json_string(JWT_OWN_ISSUER));
    json_object_set_new(claims, "epoch", json_integer(3));
    return claims;
}

/* The tokens of accounts: what is issued is taken, with its epoch. */
static void test_account(void **state)
{
    struct world *world = *state;
    struct jwt_claims claims;
    struct error err = ERROR_NONE;

    assert_null(jwt_issue(world->jwt, "user-1", 3, NOW_S, NOW_S + 60, &err));
    assert_int_equal(jwt_set_own_key(world->jwt, OWN_KEY, strlen(OWN_KEY), NULL), 0);
    cleanup_free char *token = jwt_issue(world->jwt, "user-1", 3, NOW_S, NOW_S + 60, NULL);
    assert_true(jwt_looks_like(token));
    assert_int_equal(jwt_verify(world->jwt, token, (int64_t)NOW_S * 1000, &claims, NULL), 0);
    assert_string_equal(claims.owner, "user-1");
    assert_true(claims.account);
    assert_int_equal(claims.epoch, 3);
    assert_int_equal(claims.scopes, SCOPE_SANDBOXES | SCOPE_READ);
    assert_true(jwt_verify(world->jwt, token, (int64_t)(NOW_S + 120) * 1000, &claims, NULL) < 0);
}

/* Neither key makes the other's tokens, nor do the keys of the set. */
static void test_account_confusion(void **state)
{
    struct world *world = *state;
    jwk_t *own;

    assert_refused(world, sign(world->secret, R_JWA_ALG_HS256, NULL, account_claims()), "no key");
    assert_int_equal(jwt_set_own_key(world->jwt, OWN_KEY, strlen(OWN_KEY), NULL), 0);
    assert_refused(world, sign(world->secret, R_JWA_ALG_HS256, NULL, account_claims()), "no key");
    assert_refused(world, sign(world->rsa, R_JWA_ALG_RS256, "r1", account_claims()), "algorithm");
    r_jwk_init(&own);
    r_jwk_import_from_symmetric_key(own, (const unsigned char *)OWN_KEY, strlen(OWN_KEY));
    assert_refused(world, sign(own, R_JWA_ALG_HS256, NULL, good_claims()), "no key");
    assert_refused(world,
                   sign(own, R_JWA_ALG_HS256, NULL, with("role", json_string("service_role"))),
                   "no key");
    json_t *elsewhere = account_claims();
    json_object_set_new(elsewhere, "aud", json_string("authenticated"));
    assert_refused(world, sign(own, R_JWA_ALG_HS256, NULL, elsewhere), "`aud`");
    r_jwk_free(own);
}

/* Every byte of a signature counts. */
static void test_changed(void **state)
{
    struct world *world = *state;
    cleanup_free char *good = sign(world->secret, R_JWA_ALG_HS256, NULL, good_claims());
    size_t start = (size_t)(strrchr(good, '.') + 1 - good);

    for (size_t i = start; i + 1 < strlen(good); i++) {
        char *bad = strdup(good);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_refused(world, bad, "no key");
    }
}

static void test_configuration(void **state)
{
    struct config config;
    struct jwt *jwt = NULL;
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(config_init(&config, NULL), 0);
    assert_int_equal(config_set(&config, "auth", "jwt_secret", "short", NULL), 0);
    assert_true(jwt_new(&config, &jwt, &err) < 0);
    assert_string_equal(err.field, "auth.jwt_secret");
    assert_int_equal(config_set(&config, "auth", "jwt_secret", "", NULL), 0);
    assert_int_equal(config_set(&config, "auth", "issuer", JWT_OWN_ISSUER, NULL), 0);
    assert_true(config_finish(&config, &err) < 0);
    assert_string_equal(err.field, "auth.issuer");
    assert_int_equal(config_set(&config, "auth", "issuer", "", NULL), 0);
    config.auth_jwks = strdup("{\"keys\":[]}");
    assert_true(jwt_new(&config, &jwt, &err) < 0);
    assert_string_equal(err.field, "auth.jwks_url");
    config_free(&config);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_good),
        IN_WORLD(test_claims),
        IN_WORLD(test_skew),
        IN_WORLD(test_algorithm_confusion),
        IN_WORLD(test_other_keys),
        IN_WORLD(test_embedded_key),
        IN_WORLD(test_unsigned),
        IN_WORLD(test_account),
        IN_WORLD(test_account_confusion),
        IN_WORLD(test_changed),
        cmocka_unit_test(test_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
