/* Which sandbox and port a request is for, from its authority and path. Pure functions. */
#pragma once

#include "base/id.h"
#include "proxy/text.h"

#include <stdint.h>

struct target {
    char id[SANDBOX_ID_LENGTH + 1];
    uint16_t port;        /* 0: the sandbox's dev server, whatever its port is */
    uint16_t path_prefix; /* bytes of the path that only say where to; 0: the host form */
    bool slash_missing;   /* path form without the slash behind the port */
};

/* Checks `host[:port]`: a name of letters, digits, dots, hyphens and underscores or a bracketed
 * IPv6 literal, the port 1..65535. Returns the length of the host part or -EINVAL. */
int authority_check(struct text authority);

/* `authority` must have passed authority_check. Host form: ID.DOMAIN or PORT-ID.DOMAIN. Returns
 * false if it is none. */
bool target_from_authority(struct text authority, struct text domain, struct target *ret_target);

/* Path form: /p/ID/PORT/... */
bool target_from_path(struct text path, struct target *ret_target);
