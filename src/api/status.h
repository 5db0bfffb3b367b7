/* From an error object to an HTTP answer: one table of codes and errnos. */
#pragma once

#include "base/error.h"

/* 4xx or 5xx. A specific code wins over the errno. */
unsigned int status_of_error(const struct error *err);

/* {"error":{"code","message","detail":{…}}}. An internal error keeps its message: whoever reads it
 * may already run commands in the sandbox, and "internal error" alone helps nobody. */
json_t *status_error_body(const struct error *err);
