/* Theory of operation: see counters.h. The descriptors stay open; each reading starts at offset 0,
 * which makes the kernel format the file anew. A file that the kernel does not have is an empty
 * one here. */
#include "init/counters.h"

#include "init/boot.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

static const struct {
    enum boot_counter file;
    const char *key; /* NULL: the file is one number, or `max` */
    size_t offset;
} table[] = {
    {BOOT_MEMORY_EVENTS, "oom_kill", offsetof(struct counters, oom_kills)},
    {BOOT_MEMORY_EVENTS, "high", offsetof(struct counters, memory_high)},
    {BOOT_MEMORY_PEAK, NULL, offsetof(struct counters, memory_peak)},
    {BOOT_MEMORY_LIMIT, NULL, offsetof(struct counters, memory_limit)},
    {BOOT_PIDS_EVENTS, "max", offsetof(struct counters, pids_refused)},
    {BOOT_PIDS_LIMIT, NULL, offsetof(struct counters, pids_limit)},
};

void counters_open(void)
{
    for (int i = 0; i < BOOT_COUNTERS; i++)
        fd_set_cloexec(BOOT_FD_COUNTERS + i, true);
}

void counters_read(struct counters *ret_counters)
{
    char text[BOOT_COUNTERS][512];

    for (int i = 0; i < BOOT_COUNTERS; i++) {
        ssize_t n = pread(BOOT_FD_COUNTERS + i, text[i], sizeof(text[i]) - 1, 0);
        text[i][n > 0 ? n : 0] = '\0';
    }
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        int64_t *value = (int64_t *)(void *)((char *)ret_counters + table[i].offset);
        *value = keyed_number(text[table[i].file], table[i].key);
    }
}
