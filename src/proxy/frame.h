/* Who may show a preview in a frame: [proxy] frame_origins decides, not the dev server. */
#pragma once

#include "proxy/names.h"

/* Whether the configuration decides what this directive of a policy is about. */
bool frame_decides(struct text directive, const struct exchange_names *names);

/* Appends the policy of the configuration as a field of its own. 0 or -ENOSPC. */
int frame_add_ancestors(struct buffer *out, const struct exchange_names *names);
