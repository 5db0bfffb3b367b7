/* Theory of operation: all policies of a response must allow what a browser does, so a page can be
 * shown where the configuration says only if the dev server's own frame-ancestors are taken out; a
 * policy of ours, in a field of its own, takes their place. Commas separate policies and semicolons
 * directives, and neither can occur inside one (CSP 3, 2.2), so no directive needs to be understood
 * to find its end. X-Frame-Options is void beside frame-ancestors, but left out for what is no
 * browser. Report-only policies forbid nothing and pass. */
#include "proxy/frame.h"

static const struct text ANCESTORS = TEXT("frame-ancestors");

static bool names_ancestors(struct text directive)
{
    struct text text = text_trim(directive);
    size_t length = 0;

    while (length < text.length && text.data[length] != ' ' && text.data[length] != '\t')
        length++;
    return text_is_case((struct text){text.data, length}, ANCESTORS);
}

int frame_add_policy(struct buffer *out, struct text value, const struct exchange_names *names)
{
    int r = 0;

    if (names->frame_origins.length == 0)
        return buffer_add(out, value.data, value.length);
    for (size_t start = 0, end; r == 0 && start < value.length; start = end + 1) {
        for (end = start; end < value.length && value.data[end] != ';' && value.data[end] != ',';)
            end++;
        bool leave_out = names_ancestors((struct text){value.data + start, end - start});
        if (!leave_out)
            r = buffer_add(out, value.data + start, end - start);
        if (r == 0 && end < value.length && (!leave_out || value.data[end] == ','))
            r = buffer_add(out, value.data + end, 1);
    }
    return r;
}

int frame_add_ancestors(struct buffer *out, const struct exchange_names *names)
{
    return buffer_print(out, "Content-Security-Policy: frame-ancestors 'self' %.*s\r\n",
                        (int)names->frame_origins.length, names->frame_origins.data);
}
