/* Where in an HTML document a script goes that is to run before all others: behind <head>, or in
 * front of the first thing that a browser would open the head for by itself. Reads a document in
 * pieces and never looks further than that place. */
#pragma once

#include "proxy/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTML_HELD_MAX 5u /* bytes of a document that has not been decided about */

struct html_scan {
    uint8_t state;
    bool in_head_tag;
};

enum html_verdict {
    HTML_FURTHER, /* not in what was read so far, but for the last html_held() bytes of it */
    HTML_HERE,
    HTML_NEVER, /* the document is UTF-16, in which our bytes would be other characters */
};

/* Reads on. HERE: the place is before byte `*ret_at` of the piece; negative: that many bytes before
 * the piece, among those that were held. Zeroed is the start of a document. */
enum html_verdict html_scan(struct html_scan *scan, struct text piece, ptrdiff_t *ret_at);

/* How many of the last bytes read may have to follow the script. */
size_t html_held(const struct html_scan *scan);
