/* Set-Cookie as the browser can keep it: a cookie that a dev server sets for localhost belongs to
 * the preview that it came through, and to no other. */
#pragma once

#include "proxy/names.h"

/* Appends the value of a Set-Cookie field. 0 or -ENOSPC. */
int set_cookie_add(struct buffer *out, struct text value, const struct exchange_names *names);
