/* Set-Cookie as the browser can keep it: a cookie that a dev server sets for localhost belongs to
 * the preview that it came through, and to no other. */
#pragma once

#include "proxy/names.h"

/* Whether the browser keeps what is Secure: over https, and of this machine. */
bool set_cookie_may_secure(const struct exchange_names *names);

/* Appends the value of a Set-Cookie field. 0 or -ENOSPC. */
int set_cookie_add(struct buffer *out, struct text value, const struct exchange_names *names);
