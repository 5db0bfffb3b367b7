/* Theory of operation: base32 (RFC 4648 alphabet, lower case) of random bytes, five bits a
 * character, so that every id is a valid DNS label and no character is favoured. */
#include "base/id.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

bool sandbox_id_valid(const char *text)
{
    return strlen(text) == SANDBOX_ID_LENGTH && strspn(text, alphabet) == SANDBOX_ID_LENGTH;
}

int sandbox_id_new(char ret_id[SANDBOX_ID_LENGTH + 1])
{
    uint8_t bytes[SANDBOX_ID_LENGTH];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return -EIO;
    for (int i = 0; i < SANDBOX_ID_LENGTH; i++)
        ret_id[i] = alphabet[bytes[i] & 31];
    ret_id[SANDBOX_ID_LENGTH] = '\0';
    return 0;
}
