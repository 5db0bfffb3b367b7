/* What an init tells of its service, as text for pages: clipped, without control characters. */
#pragma once

#include "proxy/route.h"

#include <jansson.h>

/* Text of a JSON string, in one line; "" for anything else. */
void detail_text(char *target, size_t size, const json_t *value);

/* The strings of an array, as far as there is room. */
void detail_lines(struct detail *detail, const json_t *lines);
