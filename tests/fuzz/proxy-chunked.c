/* Fuzz target: the chunked decoder. Fed a byte at a time it must find the same body, and end in the
 * same place with the same result, as when it is given everything at once. */
#include "fuzz.h"

#include "proxy/chunked.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 8192u

struct outcome {
    int last; /* the final event or error */
    size_t taken, length;
    char body[INPUT_MAX];
};

/* Shows the decoder `step` more bytes at a time; 0: all at once. */
static void decode(const char *data, size_t size, size_t step, struct outcome *outcome)
{
    struct chunked chunked = {.state = 0};
    size_t shown = step ? 0 : size;

    outcome->taken = outcome->length = 0;
    do {
        struct text piece = {"", 0};
        size_t taken = 0;
        struct text input = {data + outcome->taken, shown - outcome->taken};
        outcome->last = chunked_step(&chunked, input, &taken, &piece);
        if (outcome->last < 0)
            return;
        if (taken > input.length || piece.length > input.length ||
            outcome->length + piece.length > INPUT_MAX)
            abort();
        if (outcome->last == CHUNKED_DATA)
            memcpy(outcome->body + outcome->length, piece.data, piece.length);
        if (outcome->last == CHUNKED_DATA)
            outcome->length += piece.length;
        outcome->taken += taken;
        if (outcome->last != CHUNKED_MORE && outcome->last != CHUNKED_DATA)
            return;
        if (outcome->last == CHUNKED_MORE || outcome->taken == shown)
            shown += step;
    } while (shown <= size && (step || outcome->last == CHUNKED_DATA));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, pieces;

    if (size == 0 || size > INPUT_MAX)
        return 0;
    char *copy = malloc(size);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    decode(copy, size, 0, &whole);
    decode(copy, size, 1, &pieces);
    bool ended = whole.last < 0 || whole.last == CHUNKED_END || whole.last == CHUNKED_TRAILERS;
    if (ended && (whole.last != pieces.last || whole.length != pieces.length ||
                  memcmp(whole.body, pieces.body, whole.length) != 0))
        abort();
    if (ended && whole.last >= 0 && whole.taken != pieces.taken)
        abort();
    free(copy);
    return 0;
}
