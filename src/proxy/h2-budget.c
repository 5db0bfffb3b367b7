/* Theory of operation: see h2-budget.h. A browser that leaves a page resets up to a hundred streams
 * at once; one that loads a page for minutes sends a window update for every few frames of data. */
#include "proxy/h2-budget.h"

#include <nghttp2/nghttp2.h>

#define TOKENS_MAX        4000
#define TOKENS_PER_SECOND 400
#define TOKENS_PER_DATA   2

static int64_t cost_of(uint8_t type, uint64_t length, bool ends)
{
    switch (type) {
    case NGHTTP2_DATA:
        return length > 0 ? -TOKENS_PER_DATA : ends ? 0 : 10;
    case NGHTTP2_HEADERS:
        return 1;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
        return 10;
    case NGHTTP2_CONTINUATION:
        return 50;
    default: /* priorities, window updates, what nobody knows */
        return 2;
    }
}

void h2_budget_init(struct h2_budget *budget, int64_t now_ms)
{
    *budget = (struct h2_budget){.tokens = TOKENS_MAX, .filled = now_ms};
}

bool h2_budget_frame(struct h2_budget *budget, int64_t now_ms, uint8_t type, uint64_t length,
                     bool ends)
{
    int64_t gained = (now_ms - budget->filled) * TOKENS_PER_SECOND / 1000;

    if (gained > 0) {
        budget->tokens += gained;
        budget->filled = now_ms;
    }
    budget->tokens -= cost_of(type, length, ends);
    if (budget->tokens > TOKENS_MAX)
        budget->tokens = TOKENS_MAX;
    return budget->tokens >= 0;
}
