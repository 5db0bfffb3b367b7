/* API keys: "ak_" and 43 characters of base64url, that is 32 random bytes. Only the SHA-256 is ever
 * stored. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define KEY_TEXT_MAX  64
#define KEY_HASH_SIZE 65 /* hexadecimal and NUL */
#define KEY_ID_SIZE   17

/* A new key and its public id. */
int key_new(char ret_text[KEY_TEXT_MAX], char ret_id[KEY_ID_SIZE], struct error *err);

/* -EINVAL when the text has not the form of a key. */
int key_hash(const char *text, char ret_hash[KEY_HASH_SIZE]);

/* In constant time. */
bool key_hash_equal(const char a[KEY_HASH_SIZE], const char b[KEY_HASH_SIZE]);

/* SHA-256 of anything, in hexadecimal. */
int digest_hex(const void *data, size_t length, char ret_hash[KEY_HASH_SIZE]);
