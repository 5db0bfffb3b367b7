/* Theory of operation: see key.h. The hash functions are GnuTLS's, which libmicrohttpd brings. */
#include "api/key.h"

#include "base/cleanup.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#define KEY_PREFIX "ak_"
#define KEY_BYTES  32u
#define KEY_LENGTH 46u /* prefix and 43 characters */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void to_hex(const unsigned char *bytes, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * length] = '\0';
}

static void to_base64url(const unsigned char *bytes, size_t length, char *text)
{
    uint32_t bits = 0;
    unsigned int n_bits = 0;

    for (size_t i = 0; i < length; i++) {
        bits = (bits << 8) | bytes[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            *text++ = alphabet[(bits >> (n_bits - 6)) & 63];
    }
    if (n_bits > 0)
        *text++ = alphabet[(bits << (6 - n_bits)) & 63];
    *text = '\0';
}

int key_new(char ret_text[KEY_TEXT_MAX], char ret_id[KEY_ID_SIZE], struct error *err)
{
    unsigned char secret[KEY_BYTES], id[(KEY_ID_SIZE - 1) / 2];

    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret) ||
        getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
        return error_sys(err, errno ? errno : EIO, "getrandom");
    memcpy(ret_text, KEY_PREFIX, strlen(KEY_PREFIX) + 1);
    to_base64url(secret, sizeof(secret), ret_text + strlen(KEY_PREFIX));
    to_hex(id, sizeof(id), ret_id);
    explicit_bzero(secret, sizeof(secret));
    return 0;
}

int digest_hex(const void *data, size_t length, char ret_hash[KEY_HASH_SIZE])
{
    unsigned char digest[32];

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, length, digest) < 0)
        return -EIO;
    to_hex(digest, sizeof(digest), ret_hash);
    return 0;
}

int key_hash(const char *text, char ret_hash[KEY_HASH_SIZE])
{
    size_t length = strlen(text);

    if (length != KEY_LENGTH || strncmp(text, KEY_PREFIX, strlen(KEY_PREFIX)) != 0 ||
        strspn(text + strlen(KEY_PREFIX), alphabet) != length - strlen(KEY_PREFIX))
        return -EINVAL;
    return digest_hex(text, length, ret_hash);
}

bool key_hash_equal(const char a[KEY_HASH_SIZE], const char b[KEY_HASH_SIZE])
{
    return gnutls_memcmp(a, b, KEY_HASH_SIZE) == 0;
}
