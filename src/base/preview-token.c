/* Theory of operation: see preview-token.h. The MAC is compared as text, so nothing of a token is
 * decoded but its two numbers, and those only after their digits were looked at. What costs least
 * is asked first: a token of another sandbox, an old or a revoked one costs no HMAC. */
#include "base/preview-token.h"

#include "base/cleanup.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#define MAC_BYTES     32u
#define PREFIX_LENGTH (sizeof(PREVIEW_TOKEN_PREFIX) - 1)
#define EXPIRY_AT     (PREFIX_LENGTH + SANDBOX_ID_LENGTH)
#define EXPIRY_DIGITS 16u
#define EPOCH_AT      (EXPIRY_AT + EXPIRY_DIGITS)
#define EPOCH_DIGITS  8u
#define MAC_AT        (EPOCH_AT + EPOCH_DIGITS)

_Static_assert(MAC_AT + 2 * MAC_BYTES == PREVIEW_TOKEN_LENGTH, "the parts make up a token");

static const char digits[] = "0123456789abcdef";

int preview_key_take(struct preview_key *ret_key, struct error *err)
{
    int r = secret_key_take("preview-key", ret_key->text, err);

    ret_key->known = r == 0;
    return r;
}

/* The HMAC of everything before it. */
static int write_mac(const struct preview_key *key, const char *text, char ret_mac[2 * MAC_BYTES])
{
    unsigned char mac[MAC_BYTES];

    if (!key->known ||
        gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->text, PREVIEW_KEY_LENGTH, text, MAC_AT, mac) < 0)
        return -EIO;
    for (size_t i = 0; i < MAC_BYTES; i++) {
        ret_mac[2 * i] = digits[mac[i] >> 4];
        ret_mac[2 * i + 1] = digits[mac[i] & 15];
    }
    return 0;
}

int preview_token_make(const struct preview_key *key, const char *id, int64_t expires_at,
                       uint32_t epoch, char ret_text[PREVIEW_TOKEN_LENGTH + 1], struct error *err)
{
    snprintf(ret_text, PREVIEW_TOKEN_LENGTH + 1, "%s%s%016llx%08x", PREVIEW_TOKEN_PREFIX, id,
             (unsigned long long)expires_at, epoch);
    if (strlen(ret_text) != MAC_AT || write_mac(key, ret_text, ret_text + MAC_AT) < 0)
        return error_set(err, EIO, "a preview token cannot be made: there is no key");
    ret_text[PREVIEW_TOKEN_LENGTH] = '\0';
    return 0;
}

static bool read_number(const char *text, size_t count, uint64_t *ret_number)
{
    uint64_t number = 0;

    for (size_t i = 0; i < count; i++) {
        const char *digit = memchr(digits, text[i], sizeof(digits) - 1);
        if (!digit)
            return false;
        number = number << 4 | (uint64_t)(digit - digits);
    }
    *ret_number = number;
    return true;
}

int64_t preview_token_check(const struct preview_key *key, const char *text, size_t length,
                            const struct preview_claims *claims)
{
    char mac[2 * MAC_BYTES];
    uint64_t expiry, epoch;

    if (length != PREVIEW_TOKEN_LENGTH || memcmp(text, PREVIEW_TOKEN_PREFIX, PREFIX_LENGTH) != 0 ||
        memcmp(text + PREFIX_LENGTH, claims->id, SANDBOX_ID_LENGTH) != 0 ||
        !read_number(text + EXPIRY_AT, EXPIRY_DIGITS, &expiry) ||
        !read_number(text + EPOCH_AT, EPOCH_DIGITS, &epoch))
        return -EACCES;
    if (epoch != claims->epoch || expiry > INT64_MAX || (int64_t)expiry <= claims->now)
        return -EACCES;
    if (write_mac(key, text, mac) < 0 || gnutls_memcmp(mac, text + MAC_AT, sizeof(mac)) != 0)
        return -EACCES;
    return (int64_t)expiry;
}
