/* The request target: path segments and query, percent-decoded strictly. A NUL byte, a broken
 * escape or text that is not UTF-8 is refused, so that no later layer sees a path that means
 * something else to the next one. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define URI_SEGMENTS_MAX 8u
#define URI_QUERY_MAX    24u

struct uri {
    char *text; /* owns everything below */
    const char *segments[URI_SEGMENTS_MAX];
    size_t n_segments;
    bool is_root; /* "/", which has no segments either */
    struct {
        const char *name, *value;
    } query[URI_QUERY_MAX];
    size_t n_query;
};

/* `raw` is the target as it stood in the request line ("/v1/x?y=z"). A path with more segments
 * than any route has, or with an empty one, gives no segments: it matches nothing. -EINVAL for what
 * the theory above refuses. */
int uri_parse(const char *raw, struct uri *ret_uri, struct error *err);
void uri_free(struct uri *uri);

/* The first parameter of that name, or NULL. */
const char *uri_query(const struct uri *uri, const char *name);
