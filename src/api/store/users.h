/* Who a row belongs to: users are UUIDs, as in Supabase. */
#pragma once

#include "api/db/db.h"

/* Lower case, 36 characters: 8-4-4-4-12 hexadecimal digits (RFC 9562). Upper case is taken and made
 * lower. -EINVAL. */
int uuid_parse(const char *text, char ret_uuid[DB_USER_SIZE]);

/* Version 4, from the kernel. */
int uuid_new(char ret_uuid[DB_USER_SIZE]);

/* The user of an owner's name (that of an API key, a JWT's `sub`): itself if it is a UUID, else the
 * version 5 UUID of it in a namespace of ours. */
int user_of_owner(const char *owner, char ret_uuid[DB_USER_SIZE]);

/* Adds the user's row where users are ours to add; "forbidden" or "database" where they are
 * Supabase's. */
void users_ensure(struct db *db, const char *user, int64_t now_ms, db_done_fn done, void *userdata);
