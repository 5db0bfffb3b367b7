/* The dev server's content security policies, as the browser is to have them: without what the
 * configuration decides (frame.h), and with room for the bridge (bridge.h) where one was inserted.
 */
#pragma once

#include "proxy/names.h"

/* Append the value of a Content-Security-Policy field, or of a Content-Security-Policy-Report-Only.
 * 0 or -ENOSPC. */
int csp_add(struct buffer *out, struct text value, const struct exchange_names *names);
int csp_add_report_only(struct buffer *out, struct text value, const struct exchange_names *names);
