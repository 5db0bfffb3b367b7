/* A script's tag on its way into a document that passes in pieces: what goes on for each piece is
 * told as spans of the piece, of the tag and of bytes that were held back before. */
#pragma once

#include "proxy/html.h"

#define INSERTION_TAG_MAX 160u
#define INSERTION_PARTS   4u
/* What a piece can grow by. */
#define INSERTION_ROOM (INSERTION_TAG_MAX + HTML_HELD_MAX)

struct insertion {
    struct html_scan scan;
    bool begun; /* a byte of the document was seen */
    bool over;  /* nothing is left to be inserted or held */
    uint8_t n_held, tag_length;
    char held[HTML_HELD_MAX], given[HTML_HELD_MAX];
    char tag[INSERTION_TAG_MAX];
};

/* The parts of what goes on, in order; their number. They are good until the next call. */
size_t insertion_take(struct insertion *insertion, struct text piece,
                      struct text ret_parts[INSERTION_PARTS]);

/* The same at the end of the document: one that holds something gets the tag in any case. */
size_t insertion_end(struct insertion *insertion, struct text ret_parts[INSERTION_PARTS]);
