/* Theory of operation: see insertion.h. Held bytes are copied, since the buffer that they came in
 * is given back; those that are let go stay in `given` until they have been written. */
#include "proxy/insertion.h"

#include <string.h>

struct list {
    struct text *parts;
    size_t n;
};

static void add(struct list *list, const char *data, size_t length)
{
    if (length > 0)
        list->parts[list->n++] = (struct text){data, length};
}

static void add_tag(struct insertion *insertion, struct list *list)
{
    add(list, insertion->tag, insertion->tag_length);
    insertion->over = true;
}

static void let_go(struct insertion *insertion, struct list *list)
{
    memcpy(insertion->given, insertion->held, insertion->n_held);
    add(list, insertion->given, insertion->n_held);
    insertion->n_held = 0;
}

/* Held are always all bytes of the token that may be one of the two tags. */
static void hold_on(struct insertion *insertion, struct text piece, struct list *list)
{
    size_t held = html_held(&insertion->scan);
    size_t fresh = held < piece.length ? held : piece.length;

    if (held <= piece.length)
        let_go(insertion, list);
    add(list, piece.data, piece.length - fresh);
    memcpy(insertion->held + insertion->n_held, piece.data + piece.length - fresh, fresh);
    insertion->n_held = (uint8_t)(insertion->n_held + fresh);
}

size_t insertion_take(struct insertion *insertion, struct text piece,
                      struct text ret_parts[INSERTION_PARTS])
{
    struct list list = {ret_parts, 0};
    ptrdiff_t at = 0;

    if (insertion->over) {
        add(&list, piece.data, piece.length);
        return list.n;
    }
    enum html_verdict verdict = html_scan(&insertion->scan, piece, &at);
    size_t before = at > 0 ? (size_t)at : 0;

    insertion->begun = insertion->begun || piece.length > 0;
    if (verdict == HTML_FURTHER) {
        hold_on(insertion, piece, &list);
        return list.n;
    }
    insertion->over = true;
    if (at < 0)
        add_tag(insertion, &list);
    let_go(insertion, &list);
    add(&list, piece.data, before);
    if (at >= 0 && verdict == HTML_HERE)
        add_tag(insertion, &list);
    add(&list, piece.data + before, piece.length - before);
    return list.n;
}

size_t insertion_end(struct insertion *insertion, struct text ret_parts[INSERTION_PARTS])
{
    struct list list = {ret_parts, 0};

    if (insertion->begun && !insertion->over)
        add_tag(insertion, &list);
    insertion->over = true;
    let_go(insertion, &list);
    return list.n;
}
