/* Passwords of the built-in accounts. What is hashed is a digest of the password, so that the hash
 * takes any length; the stored hash is crypt(5)'s yescrypt, "$y$…".
 *
 * A password has 8 to 1024 bytes of UTF-8, any characters but control characters, no rule of what
 * it consists of (NIST SP 800-63B, 3.1.1.2). It is compared as its OpaqueString form (RFC 8265), so
 * that keyboards which write one character in two ways do not matter. */
#pragma once

#include "base/error.h"

#include <crypt.h>
#include <stdbool.h>

#define PASSWORD_MIN         8    /* bytes, of a new one */
#define PASSWORD_MAX         1024 /* bytes */
#define PASSWORD_DIGEST_SIZE 65   /* hexadecimal and NUL */

/* N = 2^14, r = 32: 64 MiB and some 70 ms. As much memory as the scrypt setting N = 2^16 of OWASP's
 * Password Storage Cheat Sheet, four times what Debian asks for its own accounts (cost 5). */
#define PASSWORD_COST 7

/* Of the password in its normal form; to be wiped by the caller. -EINVAL: control characters, or no
 * UTF-8. The error never holds the password. */
int password_digest(const char *password, char ret_digest[PASSWORD_DIGEST_SIZE], struct error *err);

/* A new salt and the cost: what password_hash takes as `setting`; a stored hash serves as well. */
int password_setting(char ret_setting[CRYPT_OUTPUT_SIZE], struct error *err);

/* Takes long. -EINVAL: the setting is of no method that is known. `scratch` may hold anything, and
 * is to be wiped. */
int password_hash(const char *digest, const char *setting, struct crypt_data *scratch,
                  char ret_hash[CRYPT_OUTPUT_SIZE]);

/* In constant time. */
bool password_hash_equal(const char *hash, const char *stored);
