/* Theory of operation: see password.h. The digest is an HMAC under a name of ours: a plain SHA-256
 * of the password could be tried with the hashes that other sites have lost. */
#include "api/account/password.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "$y$"

static const char domain[] = "auracode password";

int password_digest(const char *password, char ret_digest[PASSWORD_DIGEST_SIZE], struct error *err)
{
    unsigned char mac[(PASSWORD_DIGEST_SIZE - 1) / 2];
    gnutls_datum_t normal = {NULL, 0};
    int r = gnutls_utf8_password_normalize((const unsigned char *)password,
                                           (unsigned int)strlen(password), &normal, 0);

    if (r == GNUTLS_E_MEMORY_ERROR)
        return error_oom(err);
    if (r < 0)
        return error_set_field(err, "password", "expected UTF-8 without control characters");
    r = gnutls_hmac_fast(GNUTLS_MAC_SHA256, domain, strlen(domain), normal.data, normal.size, mac);
    explicit_bzero(normal.data, normal.size);
    gnutls_free(normal.data);
    if (r < 0)
        return error_set(err, EIO, "the password could not be hashed");
    for (size_t i = 0; i < sizeof(mac); i++)
        snprintf(ret_digest + 2 * i, 3, "%02x", mac[i]);
    explicit_bzero(mac, sizeof(mac));
    return 0;
}

int password_setting(char ret_setting[CRYPT_OUTPUT_SIZE], struct error *err)
{
    if (!crypt_gensalt_rn(PREFIX, PASSWORD_COST, NULL, 0, ret_setting, CRYPT_OUTPUT_SIZE))
        return error_sys(err, errno, "making a salt");
    return 0;
}

int password_hash(const char *digest, const char *setting, struct crypt_data *scratch,
                  char ret_hash[CRYPT_OUTPUT_SIZE])
{
    errno = 0;
    const char *hash = crypt_rn(digest, setting, scratch, (int)sizeof(*scratch));

    if (!hash || hash[0] == '*')
        return errno ? -errno : -EINVAL;
    snprintf(ret_hash, CRYPT_OUTPUT_SIZE, "%s", hash);
    return 0;
}

bool password_hash_equal(const char *hash, const char *stored)
{
    size_t length = strlen(hash);

    return length == strlen(stored) && gnutls_memcmp(hash, stored, length) == 0;
}
