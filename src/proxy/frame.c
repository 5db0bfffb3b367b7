/* Theory of operation: all policies of a response must allow what a browser does, so a page can be
 * shown where the configuration says only if the dev server's own frame-ancestors are taken out; a
 * policy of ours, in a field of its own, takes their place. X-Frame-Options is void beside
 * frame-ancestors, but left out for what is no browser. Report-only policies forbid nothing and
 * pass. */
#include "proxy/frame.h"

static const struct text ANCESTORS = TEXT("frame-ancestors");

bool frame_decides(struct text directive, const struct exchange_names *names)
{
    struct text text = text_trim(directive);
    size_t length = 0;

    while (length < text.length && text.data[length] != ' ' && text.data[length] != '\t')
        length++;
    return names->frame_origins.length > 0 &&
           text_is_case((struct text){text.data, length}, ANCESTORS);
}

int frame_add_ancestors(struct buffer *out, const struct exchange_names *names)
{
    return buffer_print(out, "Content-Security-Policy: frame-ancestors 'self' %.*s\r\n",
                        (int)names->frame_origins.length, names->frame_origins.data);
}
