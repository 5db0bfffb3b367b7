/* Theory of operation: see users.h. */
#include "api/store/users.h"

#include <ctype.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* A random one, ours: the namespace of owners' names. */
static const unsigned char name_space[16] = {0x3b, 0x1c, 0x0e, 0x52, 0x77, 0x4d, 0x4f, 0x0a,
                                             0x9a, 0x60, 0x2d, 0x5e, 0x84, 0xc1, 0x6f, 0x93};

int uuid_parse(const char *text, char ret_uuid[DB_USER_SIZE])
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strlen(text) != sizeof(form) - 1)
        return -EINVAL;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != '-')
            return -EINVAL;
    for (size_t i = 0; i < sizeof(form); i++)
        ret_uuid[i] = (char)tolower((unsigned char)text[i]);
    return 0;
}

static void write_uuid(unsigned char bytes[16], unsigned int version, char ret_uuid[DB_USER_SIZE])
{
    char *place = ret_uuid;

    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | version << 4);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < 16; i++)
        place += snprintf(place, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                          bytes[i]);
}

int uuid_new(char ret_uuid[DB_USER_SIZE])
{
    unsigned char bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return -EIO;
    write_uuid(bytes, 4, ret_uuid);
    return 0;
}

int user_of_owner(const char *owner, char ret_uuid[DB_USER_SIZE])
{
    unsigned char digest[20];
    gnutls_hash_hd_t hash;

    if (uuid_parse(owner, ret_uuid) == 0)
        return 0;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA1) < 0)
        return -ENOMEM;
    gnutls_hash(hash, name_space, sizeof(name_space));
    gnutls_hash(hash, owner, strlen(owner));
    gnutls_hash_deinit(hash, digest);
    write_uuid(digest, 5, ret_uuid);
    return 0;
}

void users_ensure(struct db *db, const char *user, int64_t now_ms, db_done_fn done, void *userdata)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    db_add(
        tx,
        "INSERT INTO auth_users (id, created_at) VALUES ($1, from_ms($2)) ON CONFLICT DO NOTHING",
        "ti", user, now_ms);
    db_repeatable(tx);
    db_run(db, tx, done, userdata);
}
