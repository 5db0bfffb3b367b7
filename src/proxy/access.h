/* Preview tokens (base/preview-token.h) in requests: where they may be, and the request without
 * them. Pure functions.
 *
 *   the parameter `auracode_token` of the query
 *   the field `X-Auracode-Token`, or `Authorization: Bearer pt_...`
 *   the cookie `auracode_token_ID`, `__Host-auracode_token_ID` where the browser speaks https
 *
 * None of these goes on to the dev server, be its sandbox private or not, nor may it set such a
 * cookie. Any other parameter, cookie and Authorization passes as it is. */
#pragma once

#include "base/preview-token.h"
#include "proxy/buffer.h"
#include "proxy/head.h"

enum access_verdict { ACCESS_GRANTED, ACCESS_MISSING, ACCESS_REFUSED };

struct access_result {
    enum access_verdict verdict;
    int64_t expires_at; /* of the token that was good, seconds since 1970 */
    struct text query;  /* that token, if it was the query's; else length 0 */
};

/* One good token is enough, whatever else there is. `secure`: the browser speaks https. */
void access_check(const struct preview_key *key, const struct head *head,
                  const struct preview_claims *claims, bool secure,
                  struct access_result *ret_result);

/* Whether a path or URL has the parameter in its query. */
bool access_in_query(struct text path);

/* Appends the path without the parameter. 0 or -ENOSPC, here as below. */
int access_add_path(struct buffer *out, struct text path);

/* Appends a Cookie field without the cookies of ours, or nothing when no other is left. */
int access_add_cookies(struct buffer *out, const struct head_field *field);

/* Whether the request field is for us alone. */
bool access_is_ours(const struct head_field *field);

/* Whether what a Set-Cookie field sets would be taken for a cookie of ours. */
bool access_sets_ours(struct text set_cookie);
