/* The signature of a delivery, as Stripe's: the time is signed too, so that an old one cannot be
 * sent again by somebody else. */
#include "api/webhooks/webhooks.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

char *webhook_signature(const char *secret, int64_t unix_s, const char *body)
{
    cleanup_free char *text = str_format("%lld.%s", (long long)unix_s, body);
    unsigned char mac[32];
    char hex[2 * sizeof(mac) + 1];

    if (!text ||
        gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, strlen(secret), text, strlen(text), mac) < 0)
        return NULL;
    for (size_t i = 0; i < sizeof(mac); i++)
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    return str_format("t=%lld,v1=%s", (long long)unix_s, hex);
}
