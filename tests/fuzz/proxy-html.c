/* Fuzz target: a script's way into a document. In whatever pieces a document comes, it must be the
 * same document with the tag at the same place, and no more than a tag's beginning may be held
 * back. The first byte says how the document is cut. What goes on is the document's own bytes. */
#include "fuzz.h"

#include "proxy/insertion.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 8192u
#define TAG       "<script></script>"

struct result {
    char text[INPUT_MAX + sizeof(TAG)];
    size_t length;
    size_t tag; /* where it stands; SIZE_MAX: nowhere */
};

static void take(struct result *result, const struct text *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (result->length + parts[i].length > sizeof(result->text))
            abort();
        if (parts[i].length == sizeof(TAG) - 1 &&
            memcmp(parts[i].data, TAG, sizeof(TAG) - 1) == 0 && result->tag == SIZE_MAX)
            result->tag = result->length;
        memcpy(result->text + result->length, parts[i].data, parts[i].length);
        result->length += parts[i].length;
    }
}

/* Each piece is a copy, which is gone before the next one comes. */
static void pass(const char *data, size_t size, size_t step, struct result *result)
{
    struct insertion insertion = {.tag = TAG, .tag_length = sizeof(TAG) - 1};
    struct text parts[INSERTION_PARTS];

    result->length = 0;
    result->tag = SIZE_MAX;
    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        char *piece = malloc(n);
        if (!piece)
            abort();
        memcpy(piece, data + at, n);
        take(result, parts, insertion_take(&insertion, (struct text){piece, n}, parts));
        free(piece);
        if (!insertion.over && result->length + HTML_HELD_MAX < at + n)
            abort();
    }
    take(result, parts, insertion_end(&insertion, parts));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result whole, pieces;

    if (size < 2 || size > INPUT_MAX || memmem(data, size, TAG, sizeof(TAG) - 1))
        return 0;
    const char *document = (const char *)data + 1;
    size--;
    pass(document, size, size, &whole);
    pass(document, size, data[0] % 16 + 1, &pieces);
    if (whole.length != pieces.length || whole.tag != pieces.tag ||
        memcmp(whole.text, pieces.text, whole.length) != 0)
        abort();
    size_t before = whole.tag == SIZE_MAX ? size : whole.tag;
    size_t added = whole.tag == SIZE_MAX ? 0 : sizeof(TAG) - 1;
    if (whole.length != size + added || memcmp(whole.text, document, before) != 0 ||
        memcmp(whole.text + before + added, document + before, size - before) != 0)
        abort();
    return 0;
}
