/* Preview tokens: what opens the previews of a private sandbox. A token is
 *
 *     pt_ ID EXPIRY EPOCH MAC      103 characters of [a-z0-9_], so it needs no escape anywhere
 *
 * without the spaces: the sandbox's id (12), the second since 1970 from which on it is refused (16
 * hexadecimal digits), the sandbox's access_epoch when it was made (8), and the HMAC-SHA256 (64) of
 * everything before it under the key that auracoded made for this installation. Nothing is stored
 * for it: another epoch refuses all tokens of a sandbox at once. Each token has exactly one
 * spelling. */
#pragma once

#include "base/error.h"
#include "base/id.h"
#include "base/secret-key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PREVIEW_KEY_LENGTH   SECRET_KEY_LENGTH
#define PREVIEW_TOKEN_LENGTH 103u /* without the NUL */

/* What they are called where browsers and programs give them. The cookie's name goes on with the
 * sandbox's id, since all previews of the path form share one host. */
#define PREVIEW_TOKEN_PREFIX "pt_"
#define PREVIEW_TOKEN_QUERY  "auracode_token"
#define PREVIEW_TOKEN_HEADER "x-auracode-token"
#define PREVIEW_TOKEN_COOKIE "auracode_token_"

#define PREVIEW_EXPIRES_MIN_S     1
#define PREVIEW_EXPIRES_MAX_S     2592000 /* 30 days */
#define PREVIEW_EXPIRES_DEFAULT_S 3600

struct preview_key {
    char text[PREVIEW_KEY_LENGTH];
    bool known; /* without it nothing is minted and everything refused */
};

/* What a token of a sandbox must agree with, and when it is shown. */
struct preview_claims {
    const char *id;
    uint32_t epoch;
    int64_t now; /* seconds since 1970 */
};

/* Reads the descriptor "preview-key" (passed-fds.h). */
int preview_key_take(struct preview_key *ret_key, struct error *err);

int preview_token_make(const struct preview_key *key, const char *id, int64_t expires_at,
                       uint32_t epoch, char ret_text[PREVIEW_TOKEN_LENGTH + 1], struct error *err);

/* When it expires (seconds since 1970), or -EACCES for whatever is no good token of this sandbox
 * now. Takes no memory; the MAC is compared in constant time. */
int64_t preview_token_check(const struct preview_key *key, const char *text, size_t length,
                            const struct preview_claims *claims);
