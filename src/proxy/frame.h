/* Who may show a preview in a frame: [proxy] frame_origins decides, not the dev server. */
#pragma once

#include "proxy/names.h"

/* Appends the value of a Content-Security-Policy field, without its frame-ancestors directives if
 * ours are to hold. 0 or -ENOSPC. */
int frame_add_policy(struct buffer *out, struct text value, const struct exchange_names *names);

/* Appends the policy of the configuration as a field of its own. 0 or -ENOSPC. */
int frame_add_ancestors(struct buffer *out, const struct exchange_names *names);
