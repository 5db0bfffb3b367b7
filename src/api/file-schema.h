/* Decoded queries of the file routes, shared by the route table and the handlers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FILE_PAGE_MAX 512

struct file_query {
    const char *path, *after, *mode;
    int64_t limit, depth;
    bool list, recursive, directory;
};
