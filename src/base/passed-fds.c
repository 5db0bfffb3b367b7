/* Theory of operation: see passed-fds.h. */
#include "base/passed-fds.h"

#include "base/fd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int passed_fd_take(const char *name)
{
    static bool taken[PASSED_FDS_MAX];
    const char *entry = getenv("AURACODE_FDS");

    for (int i = 0; entry && *entry && i < PASSED_FDS_MAX; i++) {
        size_t length = strcspn(entry, ",");
        if (!taken[i] && length == strlen(name) && memcmp(entry, name, length) == 0) {
            int fd = PASSED_FDS_START + i;
            int r = fd_set_cloexec(fd, true);
            taken[i] = true;
            return r < 0 ? r : fd;
        }
        entry += length;
        if (*entry == ',')
            entry++;
    }
    return -ENOENT;
}
