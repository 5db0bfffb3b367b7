/* A key that the supervisor hands to a program as a descriptor (supervisor/secrets.h). */
#pragma once

#include "base/error.h"

#define SECRET_KEY_LENGTH 64u /* bytes: hexadecimal digits, which are the key as they stand */

/* Reads the descriptor `name` (passed-fds.h). No NUL is added. */
int secret_key_take(const char *name, char ret_key[SECRET_KEY_LENGTH], struct error *err);
