/* What a browser reports of a page in a preview: one shape, checked by each program that it passes.
 * It comes from whoever can open the page, so all of it is bounded, and none of it is believed.
 *
 *   kind     error (uncaught), rejection (unhandled), console (console.error), request (fetch or
 *            XMLHttpRequest that failed), resource (script, style sheet or image that did not
 *            load), overlay (the dev server's own error page)
 *   message  the first thing to read, up to 4096 bytes
 *   source, line, column  where; the source is a URL or a file of the project
 *   stack    up to 8192 bytes
 *   frame    an overlay's excerpt of the source, up to 4096 bytes
 *   url, status  of the request or resource; status 0: there was no answer
 *   page     the URL of the document */
#pragma once

#include "base/fields.h"

#include <jansson.h>

#define REPORT_TEXT_MAX  4096 /* bytes, of message and frame */
#define REPORT_STACK_MAX 8192
#define REPORT_URL_MAX   2048
#define REPORT_JSON_MAX  30000 /* bytes of the whole, as JSON */

struct browser_report {
    const char *kind, *message, *source, *stack, *frame, *url, *page;
    int64_t line, column, status;
};

#define BROWSER_REPORT_FIELDS 10u
extern const struct field browser_report_fields[BROWSER_REPORT_FIELDS];
