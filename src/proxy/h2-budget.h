/* Frames that an HTTP/2 peer may send without end and that do nothing for it: pings, settings,
 * resets, priorities, empty data, pieces of headers. Each costs tokens, which come back with time
 * and with real data; a peer that has none left is told to calm down and closed (CVE-2019-9512,
 * -9513, -9514, -9515, -9518, CVE-2023-44487, CVE-2024-27316). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct h2_budget {
    int64_t tokens;
    int64_t filled; /* ms: when time last gave some */
};

void h2_budget_init(struct h2_budget *budget, int64_t now_ms);

/* What a frame of this type, with so many bytes of payload, costs; false: too much. `now_ms` as of
 * the worker's clock. `ends`: it has END_STREAM. */
bool h2_budget_frame(struct h2_budget *budget, int64_t now_ms, uint8_t type, uint64_t length,
                     bool ends);
