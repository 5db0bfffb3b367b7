/* The last errors that browsers reported of a sandbox's previews, for whoever asks later: as many
 * as BROWSER_ERRORS_KEPT, of BROWSER_BYTES_KEPT together. They came from pages
 * (base/browser-report.h): what they say is hostile. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BROWSER_ERRORS_KEPT 200u
#define BROWSER_BYTES_KEPT  ((size_t)256 << 10) /* of JSON */

struct browser_errors;

/* Makes `*errors` if there is none, and keeps a copy of `data` with that id and time (ms). */
void browser_errors_keep(struct browser_errors **errors, int64_t id, int64_t timestamp,
                         const json_t *data);

/* Those behind the id `since`, the oldest first; `*ret_gap`: some of them are not kept any more.
 * New reference; NULL: out of memory. */
json_t *browser_errors_list(const struct browser_errors *errors, int64_t since, bool *ret_gap);

void browser_errors_clear(struct browser_errors *errors);
void browser_errors_free(struct browser_errors *errors); /* takes NULL */
