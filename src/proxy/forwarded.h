/* What a reverse proxy in front of us tells about the browser: by which name, over which scheme and
 * from where it came. Believed from [proxy] trusted_proxies only. */
#pragma once

#include "base/networks.h"
#include "proxy/names.h"

struct forwarded {
    struct text host;      /* X-Forwarded-Host, checked; length 0: not told */
    uint16_t port;         /* X-Forwarded-Port; 0: not told */
    bool secure;           /* X-Forwarded-Proto: https */
    struct text addresses; /* X-Forwarded-For, checked; length 0: not told */
};

/* X-Forwarded-For alone. */
struct text forwarded_addresses(const struct head *head);

void forwarded_read(const struct head *head, struct forwarded *ret_forwarded);

/* The public name into `text` (AUTHORITY_MAX bytes and a NUL), from Host's `authority` and what the
 * proxy in front told. Host decides which preview is meant wherever it names one, so that a client
 * cannot get past what that proxy decided by it; the told name then only adds its port. Returns the
 * length. */
size_t forwarded_authority(const struct forwarded *forwarded, struct text authority,
                           struct text domain, char *text);

/* The client's address: the last one told that is no proxy's that we trust, since whatever stands
 * before it anybody may have written; if all are, the first. Length 0: none was told. */
struct text forwarded_client(struct text addresses, const struct networks *trusted);
